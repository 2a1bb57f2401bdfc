//! Probes an application, on a thread of its own for each health check.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use ureq::Agent;
use ureq::http::header::{CONNECTION, HOST};
use ureq::http::{Request, Uri};

use crate::http;
use crate::isolation::fork::{self, Uninherited};
use crate::legion::health::{Health, Probe};
use crate::order::Url;
use crate::order::health::{HealthCheck, HealthTarget};
use crate::sys;

/// The most that is read of an answer's head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// A health check that is being carried out, as the main thread sees it.
#[derive(Clone)]
pub struct RunningCheck(Arc<Mutex<State>>);

struct State {
    health: Health,
    /// Lines that are not in the log yet.
    lines: Vec<String>,
}

impl RunningCheck {
    /// Starts probing, on a thread that goes on as long as the process.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(check: HealthCheck) -> io::Result<RunningCheck> {
        let health = Health::new(&check.name, check.interval, check.fall, check.rise);
        let running = RunningCheck(Arc::new(Mutex::new(State {
            health,
            lines: Vec::new(),
        })));
        let state = running.clone();
        fork::close_in_children();
        sys::without_signals(|| {
            thread::Builder::new().name("health".into()).spawn(move || {
                let mut prober = Prober::new(check);
                loop {
                    let begun = Instant::now();
                    let probe = catch_unwind(AssertUnwindSafe(|| prober.probe()));
                    state.note(probe.unwrap_or_else(|_| {
                        Err("could not be probed, because of a bug in uwsgi-hetzner".into())
                    }));
                    thread::sleep(prober.check.interval.saturating_sub(begun.elapsed()));
                }
            })
        })?;
        Ok(running)
    }

    fn note(&self, probe: Probe) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = state.health.note(sys::uptime(), probe) {
            state.lines.push(line);
        }
    }

    /// Whether the application is sick, and what is to be logged about it.
    pub fn look(&self) -> (bool, Vec<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.health.is_sick(), std::mem::take(&mut state.lines))
    }
}

/// Sends probes.
struct Prober {
    check: HealthCheck,
    /// Made for the first probe, and made again while that fails.
    client: Option<HttpClient>,
    resolver: http::PatientResolver,
}

struct HttpClient {
    agent: Agent,
    request: http::CurrentRequest,
}

impl Prober {
    fn new(check: HealthCheck) -> Prober {
        Prober {
            check,
            client: None,
            resolver: http::PatientResolver::default(),
        }
    }

    /// One probe, within the check's `timeout`.
    fn probe(&mut self) -> Probe {
        match &self.check.target {
            HealthTarget::Http(url) => {
                let url = url.clone();
                self.probe_http(&url)
            }
            HealthTarget::Tcp(host, port) => {
                let within = self.check.timeout;
                http::connect(&self.resolver, host, *port, within)
                    .map_err(|error| unreachable(&error, within))
            }
            HealthTarget::Unix(path) => {
                connect_unix(path).map_err(|error| format!("could not be connected to: {error}"))
            }
        }
    }

    fn probe_http(&mut self, url: &Url) -> Probe {
        if self.client.is_none() {
            self.client = Some(HttpClient::new(url, &self.check)?);
        }
        let Some(client) = &self.client else {
            return Ok(());
        };
        let within = self.check.timeout;
        client.request.begin(within);
        let status = client
            .get(url.as_uri(), self.check.host.as_deref(), within)
            .map_err(|error| unreachable(&error, within))?;
        let is_healthy = |(first, last): &(u16, u16)| (*first..=*last).contains(&status);
        match self.check.statuses.iter().any(is_healthy) {
            true => Ok(()),
            false => Err(format!("answered {status}")),
        }
    }
}

impl HttpClient {
    fn new(url: &Url, check: &HealthCheck) -> Result<HttpClient, String> {
        let request = http::CurrentRequest::default();
        let tls =
            http::tls_config(&check.trust, check.is_https()).map_err(|error| error.to_string())?;
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(0)
            .user_agent(concat!("uwsgi-hetzner/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = http::connector(url.as_uri(), &request);
        let agent = Agent::with_parts(config, connector, http::PatientResolver::default());
        Ok(HttpClient { agent, request })
    }

    /// Sends a `GET` over a new connection, and returns the status of the answer.
    fn get(&self, uri: &Uri, host: Option<&str>, within: Duration) -> Result<u16, ureq::Error> {
        let mut request = Request::builder()
            .method("GET")
            .uri(uri)
            .header(CONNECTION, "close");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let request = self
            .agent
            .configure_request(request.body(())?)
            .timeout_global(Some(within))
            .build();
        Ok(self.agent.run(request)?.status().as_u16())
    }
}

fn unreachable(error: &ureq::Error, within: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("did not answer within {} s", within.as_secs()),
        error => format!("could not be reached: {}", http::describe(error)),
    }
}

/// A socket whose queue is full does not accept a connection at once, and so is not healthy.
fn connect_unix(path: &Path) -> io::Result<()> {
    let socket = Uninherited::new(Socket::new(Domain::UNIX, Type::STREAM, None)?);
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use testbed::health::{Application, Behaviour};

    fn prober(keys: &str) -> Prober {
        Prober::new(HealthCheck::parse(keys.as_bytes()).unwrap())
    }

    fn probe(keys: &str) -> Probe {
        prober(keys).probe()
    }

    #[test]
    fn an_answer_with_a_healthy_status_is_good() {
        let application = Application::start().unwrap();
        let keys = format!("url={},timeout=5", application.url("/healthz"));
        let mut prober = prober(&keys);
        for (status, probe) in [
            (200, Ok(())),
            (204, Ok(())),
            (302, Ok(())),
            (404, Err("answered 404".into())),
            (503, Err("answered 503".into())),
        ] {
            application.set(Behaviour::Status(status)).unwrap();
            assert_eq!(prober.probe(), probe, "{status}");
        }
        let probes = application.probes();
        assert_eq!(probes.len(), 5, "no redirect is followed");
        assert!(probes[0].line.contains("/healthz"), "{}", probes[0].line);
        application.set(Behaviour::Status(204)).unwrap();
        assert!(probe_with(&keys, "status=200").is_err());
        assert!(probe_with(&keys, "host=app.example").is_ok());
        let host = application.probes().last().unwrap().host.clone();
        assert_eq!(host.as_deref(), Some("app.example"));
    }

    fn probe_with(keys: &str, more: &str) -> Probe {
        probe(&format!("{keys},{more}"))
    }

    #[test]
    fn an_application_that_hangs_or_refuses_is_bad_within_the_timeout() {
        let application = Application::start().unwrap();
        let keys = format!("url={},timeout=1", application.url("/"));
        application.set(Behaviour::Hang).unwrap();
        let reason = probe(&keys).unwrap_err();
        assert_eq!(reason, "did not answer within 1 s");
        application.set(Behaviour::Refuse).unwrap();
        let reason = probe(&keys).unwrap_err();
        assert!(reason.contains("Connection refused"), "{reason}");
    }

    #[test]
    fn a_connection_is_enough_for_tcp_and_unix() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let keys = format!("url=tcp://{}", listener.local_addr().unwrap());
        assert_eq!(probe(&keys), Ok(()));
        drop(listener);
        assert!(probe(&keys).unwrap_err().contains("refused"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let application = Application::start_unix(&path).unwrap();
        let keys = format!("url={}", application.url(""));
        assert_eq!(probe(&keys), Ok(()));
        drop(application);
        assert!(probe(&keys).is_err());
    }

    #[test]
    fn a_certificate_that_does_not_verify_is_bad() {
        let robot = testbed::robot::Robot::start(testbed::robot::Settings::default()).unwrap();
        let application = Application::start_tls(robot.tls().unwrap()).unwrap();
        let keys = format!("url={},timeout=5", application.url("/"));
        assert!(probe(&keys).is_err());
        let ca = format!("ca_file={}", robot.ca_file().display());
        assert_eq!(probe_with(&keys, &ca), Ok(()));
        assert_eq!(probe_with(&keys, "ssl_no_verify"), Ok(()));
    }
}
