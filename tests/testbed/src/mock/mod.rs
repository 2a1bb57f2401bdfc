//! What the mock services share: a server with faults on order, and a record of its requests.
//!
//! A [`Service`] says what a request means; a [`Server`] does everything else. Where is what: `listen`
//! how it starts, `serve` connections and threads, `wire` bytes, `tls` certificates, `exchange` one
//! request and its answer, `fault` orders, `record` the requests, `state` what its threads share,
//! `command_line` what programs need.

#[cfg(test)]
pub(crate) mod client;
pub mod command_line;
mod exchange;
mod fault;
mod listen;
mod record;
mod serve;
mod service;
mod state;
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

pub use fault::{Fault, Method, When};
pub use listen::{Certificate, Ciphers, Listen, Scheme, TlsVersions};
pub use record::{Received, Traffic};
pub use service::{Kind, Outcome, Service};

use crate::port::Port;
use state::Shared;
use tls::Identity;

/// A running mock service. Dropping it cuts its connections and joins its threads.
pub struct Server<S: Service> {
    shared: Arc<Shared<S>>,
    port: Mutex<Port>,
    port_number: u16,
    clock: Option<JoinHandle<()>>,
    scheme: Scheme,
    ca_file: PathBuf,
    _directory: Option<TempDir>,
}

impl<S: Service> Server<S> {
    pub(crate) fn run(service: S, listen: Listen) -> io::Result<Server<S>> {
        let identity = Identity::new(S::NAME, &listen)?;
        let (ca_file, directory) = match listen.ca_file {
            Some(path) => (path, None),
            None => {
                // World-readable: a uWSGI that reads it may have dropped its privileges.
                let directory = tempfile::Builder::new()
                    .prefix(&format!("{}-", S::NAME))
                    .permissions(Permissions::from_mode(0o755))
                    .tempdir()?;
                (directory.path().join("ca.pem"), Some(directory))
            }
        };
        fs::write(&ca_file, &identity.ca_pem)?;
        let tls = match listen.scheme {
            Scheme::Https => Some(identity.config),
            Scheme::Http => None,
        };
        let shared = Arc::new(Shared::new(service, tls, listen.idle));
        let mut port = Port::reserve(listen.address)?;
        let port_number = port.number();
        port.open(admitting(&shared))?;
        let mut server = Server {
            shared: Arc::clone(&shared),
            port: Mutex::new(port),
            port_number,
            clock: None,
            scheme: listen.scheme,
            ca_file,
            _directory: directory,
        };
        // From here on an error drops the server, which stops its threads.
        server.clock = Some(
            thread::Builder::new()
                .name(format!("{}-clock", S::NAME))
                .spawn(move || shared.keep_time())?,
        );
        Ok(server)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port_number
    }

    /// Scheme, host and port: `https://localhost:8443`.
    pub fn origin(&self) -> String {
        self.origin_at(self.port_number)
    }

    /// The same at another port, such as that of a relay to this server.
    pub fn origin_at(&self, port: u16) -> String {
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

    /// Looks at the service.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.shared.look().service)
    }

    /// Changes the service, and wakes those that wait.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        self.shared.change(|state| change(&mut state.service))
    }

    /// Waits until something is so; false if that takes longer than `timeout`.
    pub(crate) fn wait(&self, timeout: Duration, is_so: impl Fn(&S) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared
            .wait(Some(deadline), |state| is_so(&state.service))
    }

    /// Orders a fault. At most one order applies to a request: the first that matches.
    pub fn order(&self, when: When<S::Kind>, fault: impl Into<Fault<S::Quirk>>) {
        let fault = fault.into();
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
    pub fn count(&self, kind: S::Kind) -> usize {
        self.shared.look().count(&kind)
    }

    /// Waits until `n` requests of a kind have been received since the start, answered or not;
    /// false if that takes longer than `timeout`.
    pub fn wait_for_requests(&self, kind: S::Kind, n: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared
            .wait(Some(deadline), |state| state.count(&kind) >= n)
    }

    #[cfg(test)]
    pub(crate) fn wait_for_no_connections(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared
            .wait(Some(deadline), |state| state.open.is_empty())
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
    pub fn events(&self) -> Receiver<S::Event> {
        let (sender, receiver) = mpsc::channel();
        self.shared.change(|state| state.audience = Some(sender));
        receiver
    }

    fn lock_port(&self) -> std::sync::MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn admitting<S: Service>(shared: &Arc<Shared<S>>) -> impl Fn((TcpStream, IpAddr)) + Send + 'static {
    let shared = Arc::clone(shared);
    move |(stream, peer)| serve::admit(&shared, stream, peer)
}

impl<S: Service> Drop for Server<S> {
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
