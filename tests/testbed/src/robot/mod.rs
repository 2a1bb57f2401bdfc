//! The mock Robot: the failover part of Hetzner's Robot webservice, for tests and the demo.
//!
//! It serves `GET`, `POST` and `DELETE` on `/failover/{ip}`, `GET /failover` and `GET /server`, with
//! the real service's codes and messages, its login lock-out and its request limits. A switch takes a
//! set time, during which the IP is locked. Everything that can go wrong on the way goes wrong on
//! order: see [`Fault`].
//!
//! Everything observable can be waited for, so that no test needs to sleep:
//!
//! ```
//! use std::time::Duration;
//! use testbed::robot::{Fault, Method, Robot, Settings, When};
//!
//! let robot = Robot::start(Settings::default())?;
//! robot.order(When::Times(Method::Post, 2), Fault::page(503));
//! // ... start a takeover of robot.url("4.4.4.4".parse()?), trusting robot.ca_file() ...
//! robot.wait_for_requests(Method::Post, 3, Duration::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where is what: `settings` how it starts, `serve` connections and threads, `wire` bytes, `tls`
//! certificates, `exchange` one request and its answer, `resource` the failover IPs, `network` their
//! addresses, `servers` the account's servers, `limits` logins and limits, `errors` error answers,
//! `fault` orders, `record` the requests and events, `state` what its threads share.

mod errors;
mod exchange;
mod fault;
mod limits;
mod network;
mod record;
mod resource;
mod serve;
mod servers;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[cfg(test)]
pub(crate) use tests::trusting;

pub use fault::{Fault, Method, When};
pub use record::{Event, Received};
pub use settings::{Certificate, Ciphers, Scheme, Settings, TlsVersions};

use crate::port::Port;
use state::Shared;
use tls::Identity;

/// A running mock Robot. Dropping it cuts its connections and joins its threads.
pub struct Robot {
    shared: Arc<Shared>,
    port: Mutex<Port>,
    port_number: u16,
    clock: Option<JoinHandle<()>>,
    scheme: Scheme,
    ca_file: PathBuf,
    _directory: Option<TempDir>,
}

impl Robot {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, the CA's file cannot be written, or a subnet has no such
    /// failover IP or prefix length.
    pub fn start(settings: Settings) -> io::Result<Robot> {
        let identity = Identity::new(
            settings.certificate,
            settings.tls,
            settings.ciphers,
            settings.address.ip(),
        )?;
        let (ca_file, directory) = match &settings.ca_file {
            Some(path) => (path.clone(), None),
            None => {
                // World-readable: a uWSGI that reads it may have dropped its privileges.
                let directory = tempfile::Builder::new()
                    .prefix("robot-")
                    .permissions(Permissions::from_mode(0o755))
                    .tempdir()?;
                (directory.path().join("ca.pem"), Some(directory))
            }
        };
        fs::write(&ca_file, &identity.ca_pem)?;
        let tls = match settings.scheme {
            Scheme::Https => Some(identity.config),
            Scheme::Http => None,
        };
        let shared = Arc::new(Shared::new(&settings, tls)?);
        let mut port = Port::reserve(settings.address)?;
        let port_number = port.number();
        port.open(admitting(&shared))?;
        let mut robot = Robot {
            shared: Arc::clone(&shared),
            port: Mutex::new(port),
            port_number,
            clock: None,
            scheme: settings.scheme,
            ca_file,
            _directory: directory,
        };
        // From here on an error drops the Robot, which stops its threads.
        robot.clock = Some(
            thread::Builder::new()
                .name("robot-clock".to_owned())
                .spawn(move || shared.keep_time())?,
        );
        Ok(robot)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port_number
    }

    /// Scheme, host and port: `https://localhost:8443`.
    pub fn origin(&self) -> String {
        self.origin_at(self.port_number)
    }

    /// The URL of a failover IP: `https://localhost:8443/failover/4.4.4.4`.
    pub fn url(&self, ip: IpAddr) -> String {
        self.url_at(self.port_number, ip)
    }

    /// The URL of a failover IP at another port, such as that of a relay to this server.
    pub fn url_at(&self, port: u16, ip: IpAddr) -> String {
        format!("{}/failover/{ip}", self.origin_at(port))
    }

    fn origin_at(&self, port: u16) -> String {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        format!("{scheme}://localhost:{port}")
    }

    /// Its TLS configuration, for other servers on this machine to use; `None` without TLS.
    pub fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.shared.tls.clone()
    }

    /// The CA's certificate (PEM), for clients that should trust this server.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The server that a failover IP is routed to; also `None` if there is no such IP.
    pub fn route(&self, ip: IpAddr) -> Option<IpAddr> {
        self.shared.look().failovers.route(ip)
    }

    /// Routes a failover IP at once, and ends a switch of it that is running: its POST is then
    /// answered with this route.
    ///
    /// # Panics
    ///
    /// If there is no such failover IP.
    pub fn set_route(&self, ip: IpAddr, server: Option<IpAddr>) {
        let done = self.shared.change(|state| {
            state.tell(Event::Routed { ip, to: server });
            state.failovers.set_route(ip, server)
        });
        assert!(done, "{ip} is not a failover IP of this Robot");
    }

    /// Whether failover objects have a `status` from now on.
    pub fn show_status(&self, shown: bool) {
        self.shared.change(|s| s.failovers.shows_status = shown);
    }

    /// How long the switches that begin from now on take.
    pub fn set_switch_time(&self, time: Duration) {
        self.shared.change(|s| s.failovers.switch_time = time);
    }

    /// Changes the webservice user's password.
    pub fn set_password(&self, password: &str) {
        self.shared
            .change(|state| state.logins.password = password.to_owned());
    }

    /// Locks a failover IP for some time, as if another client was switching it: a POST is answered
    /// with `FAILOVER_LOCKED`, and a GET with the status `processing` if that is wanted. Zero ends
    /// such a lock.
    ///
    /// # Panics
    ///
    /// If there is no such failover IP.
    pub fn lock(&self, ip: IpAddr, time: Duration, processing: bool) {
        let until = Instant::now() + time;
        let done = self
            .shared
            .change(|state| state.failovers.lock(ip, until, processing));
        assert!(done, "{ip} is not a failover IP of this Robot");
    }

    /// Orders a fault. At most one order applies to a request: the first that matches.
    pub fn order(&self, when: When, fault: Fault) {
        self.shared.change(|state| state.orders.add(when, fault));
    }

    /// Cancels all orders. Faults that have already begun go on.
    pub fn clear_orders(&self) {
        self.shared.change(|state| state.orders.clear());
    }

    /// The requests received so far, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.look().requests.clone()
    }

    /// How many requests of a kind were received so far.
    pub fn count(&self, method: Method) -> usize {
        self.shared.look().count(method)
    }

    /// How many POST requests were received so far.
    pub fn posts(&self) -> usize {
        self.count(Method::Post)
    }

    /// Waits until `n` requests of a kind have been received since the start, answered or not;
    /// false if that takes longer than `timeout`.
    pub fn wait_for_requests(&self, method: Method, n: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared
            .wait(Some(deadline), |state| state.count(method) >= n)
    }

    /// Waits until a failover IP is routed to a server; false if that takes longer than `timeout`.
    pub fn wait_for_route(&self, ip: IpAddr, server: Option<IpAddr>, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared
            .wait(Some(deadline), |state| state.failovers.route(ip) == server)
    }

    /// How many TCP connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.look().connections
    }

    /// Waits until `n` TCP connections have been accepted since the start; false if that takes
    /// longer than `timeout`.
    pub fn wait_for_connections(&self, n: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared
            .wait(Some(deadline), |state| state.connections >= n)
    }

    /// Closes the listening socket: new connections are refused, existing ones stay open. The port
    /// stays reserved.
    pub fn refuse_connections(&self) {
        self.lock_port().close();
    }

    /// Listens on the same port again.
    ///
    /// # Errors
    ///
    /// If the port cannot be bound.
    pub fn accept_connections(&self) -> io::Result<()> {
        self.lock_port().open(admitting(&self.shared))
    }

    /// Cuts all existing connections, whatever is happening on them.
    pub fn cut_connections(&self) {
        self.shared.look().cut_connections();
    }

    /// The events from now on. Only the receiver of the last call gets them.
    pub fn events(&self) -> Receiver<Event> {
        let (sender, receiver) = mpsc::channel();
        self.shared.change(|state| state.audience = Some(sender));
        receiver
    }

    fn lock_port(&self) -> std::sync::MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn admitting(shared: &Arc<Shared>) -> impl Fn((TcpStream, IpAddr)) + Send + 'static {
    let shared = Arc::clone(shared);
    move |(stream, peer)| serve::admit(&shared, stream, peer)
}

impl Drop for Robot {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.stopping = true;
            state.cut_connections();
        });
        self.lock_port().close();
        let threads = self
            .shared
            .change(|state| std::mem::take(&mut state.threads));
        for thread in threads.into_iter().chain(self.clock.take()) {
            // An error means that the thread panicked, and has reported it.
            let _ = thread.join();
        }
    }
}
