//! The client: sends a request, and passes the answer to [`Reader`].

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::{HeaderValue, Method, Uri};

use super::TEMPO;
use super::answer::{Answer, Reader};
use crate::http::{self, Link, Request, RequestError, SetupError};
use crate::order::{Order, Robot};
use crate::provider::{unanswered_change, unanswered_look};
use crate::secret::Secret;
use crate::takeover::{Change, Look, Provider, Tempo};

/// How much of an answer's body is read, in bytes.
const MAX_BODY: u64 = 16 * 1024;

/// The Robot webservice, asked about one failover IP.
pub struct Client {
    http: http::Client,
    uri: Uri,
    credentials: Credentials,
    form: String,
    failover_ip: IpAddr,
    ours: IpAddr,
    is_custom: bool,
    refused_login: bool,
}

struct Credentials {
    password: Secret,
    /// `username:password` in base64.
    encoded: Secret,
    /// The header's whole value.
    authorization: HeaderValue,
}

impl Client {
    /// Prepares everything for the first request, and sends nothing.
    ///
    /// # Errors
    /// A file, a certificate or the proxy that is configured cannot be used.
    pub fn new(order: &Order, robot: &Robot) -> Result<Client, SetupError> {
        Client::with_uri(order, robot, robot.url.as_uri().clone())
    }

    /// The same, for another resource of the webservice.
    pub(super) fn with_uri(order: &Order, robot: &Robot, uri: Uri) -> Result<Client, SetupError> {
        let password = robot.password.get();
        let password = password.map_err(|error| SetupError::Secret {
            key: robot.password.key,
            error,
        })?;
        Ok(Client {
            http: http::Client::new(&robot.url, &order.trust, order.family)?,
            uri,
            credentials: Credentials::new(&robot.username, password)?,
            form: serde_urlencoded::to_string([("active_server_ip", robot.active_ip.to_string())])?,
            failover_ip: order.ip,
            ours: robot.active_ip,
            is_custom: robot.url.is_custom(),
            refused_login: false,
        })
    }

    /// Sends one request, and returns what `read` makes of the answer.
    pub(super) fn ask<T>(
        &mut self,
        method: Method,
        within: Duration,
        read: impl FnOnce(&Reader, &Answer) -> T,
    ) -> Result<T, RequestError> {
        let form = (method == Method::POST).then_some(self.form.as_str());
        let response = self.http.send(Request {
            method,
            uri: &self.uri,
            authorization: Some(&self.credentials.authorization),
            body: form.map(|form| ("application/x-www-form-urlencoded", form)),
            within,
            max_body: MAX_BODY,
            reads_refusals: false,
        })?;
        self.refused_login = response.status == 401;
        let reader = Reader {
            failover_ip: self.failover_ip,
            ours: self.ours,
            is_custom: self.is_custom,
            sent_from: self.http.local_address(),
            secrets: &[
                self.credentials.password.expose(),
                self.credentials.encoded.expose(),
            ],
        };
        let answer = Answer {
            status: response.status,
            location: response.location.as_deref(),
            body: &response.body,
        };
        Ok(read(&reader, &answer))
    }

    /// How the last answer came.
    pub(super) fn link(&self) -> Link {
        self.http.link()
    }
}

impl Credentials {
    fn new(username: &[u8], password: Secret) -> Result<Credentials, SetupError> {
        let plain = Secret::new([username, b":", password.expose()].concat());
        let encoded = Secret::new(STANDARD.encode(plain.expose()).into_bytes());
        let whole = Secret::new([b"Basic ", encoded.expose()].concat());
        let mut authorization = HeaderValue::from_bytes(whole.expose())
            .map_err(|_| SetupError::Credentials("username and password"))?;
        authorization.set_sensitive(true);
        Ok(Credentials {
            password,
            encoded,
            authorization,
        })
    }
}

impl Provider for Client {
    fn change(&mut self, within: Duration, _: &dyn Fn() -> bool) -> Change {
        self.ask(Method::POST, within, |reader, answer| reader.change(answer))
            .unwrap_or_else(unanswered_change)
    }

    fn look(&mut self, within: Duration) -> Look {
        self.ask(Method::GET, within, |reader, answer| reader.look(answer))
            .unwrap_or_else(unanswered_look)
    }

    fn requests(&self) -> u32 {
        self.http.requests()
    }

    fn tempo(&self) -> &'static Tempo {
        &TEMPO
    }

    fn has_refused_login(&self) -> bool {
        self.refused_login
    }
}
