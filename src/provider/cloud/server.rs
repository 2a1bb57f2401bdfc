//! Which server this is: by its key, or by the metadata service of Hetzner's Cloud.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::Method;

use super::answer::{Kind, Trouble};
use super::api::{Api, ApiFailure};
use super::network::{self, Server};
use super::problem::CloudProblem;
use super::queue::Queue;
use crate::http::{Client, Request};
use crate::order::{Named, Url};

/// The id of the server that asks. Source: the API's reference, "Server Metadata".
const METADATA: &str = "http://169.254.169.254/hetzner/v1/metadata/instance-id";
/// How long the metadata service may take, and how long a failure of it is remembered.
const METADATA_TIME: Duration = Duration::from_secs(5);
/// How much of its answer is read, in bytes.
const MAX_ID: u64 = 1024;

/// What the metadata service has said. It is asked until it was asked with success once in a process.
#[derive(Debug)]
pub struct Metadata {
    url: String,
    /// How long a failure is that of everybody who asks.
    memory: Duration,
    known: Mutex<Known>,
    /// Of those who ask.
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Known {
    id: Option<u64>,
    /// Why the last request failed, and when.
    failure: Option<(Trouble, Instant)>,
}

impl Default for Metadata {
    fn default() -> Metadata {
        Metadata::at(METADATA, METADATA_TIME)
    }
}

impl Metadata {
    fn at(url: &str, memory: Duration) -> Metadata {
        Metadata {
            url: url.into(),
            memory,
            known: Mutex::default(),
            queue: Arc::default(),
        }
    }

    /// One at another place, whose failures are remembered for `memory`.
    #[cfg(test)]
    pub fn at_base(base: &str, memory: Duration) -> Metadata {
        Metadata::at(&format!("{base}/instance-id"), memory)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This server's id.
    ///
    /// # Errors
    /// This is not a Cloud server, or there is no answer this time.
    fn server(&self, end: Instant) -> Result<u64, Trouble> {
        // Takeovers side by side do not ask side by side.
        let _turn = self.queue.enter(end);
        if let Some(known) = self.recall() {
            return known;
        }
        // A failure for want of time says nothing to those who have more.
        let has_time = end.saturating_duration_since(Instant::now()) >= METADATA_TIME;
        let answer = self.ask(end);
        let mut known = self.known();
        match &answer {
            Ok(id) => known.id = Some(*id),
            Err(trouble) if has_time => known.failure = Some((trouble.clone(), Instant::now())),
            Err(_) => {}
        }
        answer
    }

    /// What need not be asked for now. Several addresses of one action share a failure, which may have
    /// taken all of [`METADATA_TIME`].
    fn recall(&self) -> Option<Result<u64, Trouble>> {
        let known = self.known();
        let failure = known.failure.as_ref();
        let recent = failure.filter(|(_, at)| at.elapsed() < self.memory);
        match known.id {
            Some(id) => Some(Ok(id)),
            None => recent.map(|(trouble, _)| Err(trouble.clone())),
        }
    }

    fn ask(&self, end: Instant) -> Result<u64, Trouble> {
        let trouble = |kind, reason| Trouble::new(kind, CloudProblem::NoMetadata(reason));
        let silent = |reason: String| trouble(Kind::Silent, reason);
        let within = end.saturating_duration_since(Instant::now());
        if within.is_zero() {
            return Err(silent("there was no time left to ask it".into()));
        }
        let url = Url::parse(self.url.as_bytes()).map_err(|reason| silent(reason.to_string()))?;
        // It is asked once, so its connection is not kept.
        let mut client = Client::direct(&url).map_err(|error| silent(error.to_string()))?;
        let response = client.send(Request {
            method: Method::GET,
            uri: url.as_uri(),
            authorization: None,
            body: None,
            within: within.min(METADATA_TIME),
            max_body: MAX_ID,
            reads_refusals: false,
        });
        let response = response.map_err(|error| silent(error.to_string()))?;
        let foreign =
            |reason: String| Trouble::new(Kind::Final, CloudProblem::NotACloudServer(reason));
        match response.status {
            200 => digits(&response.body)
                .ok_or_else(|| foreign("its answer is not the id of a server".into())),
            status @ (429 | 500..=599) => {
                Err(trouble(Kind::Passing, format!("it answered {status}")))
            }
            status => Err(foreign(format!("it answered {status}"))),
        }
    }
}

/// A number that is written with nothing but digits.
fn digits(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// This server, as far as it is known.
pub struct Identity {
    named: Option<Named>,
    metadata: Arc<Metadata>,
    id: Option<u64>,
}

impl Identity {
    pub fn new(named: Option<&Named>, metadata: &Arc<Metadata>) -> Identity {
        Identity {
            named: named.cloned(),
            metadata: metadata.clone(),
            id: None,
        }
    }

    /// Whether this is known to be the server with this id.
    pub fn is(&self, id: u64) -> bool {
        self.id == Some(id)
    }

    /// This server's id: its key's, the one of that name, or what the metadata service says.
    ///
    /// # Errors
    /// It cannot be known, for now or for good.
    pub fn id(&mut self, api: &mut Api, end: Instant) -> Result<u64, ApiFailure> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let id = match &self.named {
            None => self.metadata.server(end)?,
            Some(Named::Id(id)) => *id,
            Some(Named::Name(_)) => return Ok(self.server(api, end)?.id),
        };
        self.id = Some(id);
        Ok(id)
    }

    /// This server as it is now. It costs one request: the answer to its name has all of it.
    ///
    /// # Errors
    /// It cannot be known, for now or for good, or the token's project has no such server.
    pub fn server(&mut self, api: &mut Api, end: Instant) -> Result<Server, ApiFailure> {
        if let (None, Some(Named::Name(name))) = (self.id, &self.named) {
            let server = network::server_by_name(api, name, end)?;
            let server = server.ok_or_else(|| no_server(api, name))?;
            self.id = Some(server.id);
            return Ok(server);
        }
        let id = self.id(api, end)?;
        network::server(api, id, end)
    }
}

fn no_server(api: &Api, name: &str) -> ApiFailure {
    let shown = api.printable(name);
    Trouble::new(Kind::Final, CloudProblem::NoServer(shown)).into()
}
