//! An application whose health can be checked: a small HTTP server that falls sick on order.

mod socket;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Answer, Reader, Request, header, header_line};
use crate::port::Port;
use socket::{Listener, Socket};

/// Connections served at a time; further ones are dropped.
const MAX_CONNECTIONS: usize = 256;

/// How the application answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// With this status. A 3xx points to `/redirected`.
    Status(u16),
    /// Not at all: connections are accepted and requests are read. When this ends, those that still
    /// wait are answered.
    Hang,
    /// No connection is accepted, and those that exist are closed. The address stays reserved.
    Refuse,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Method and path: `GET /healthz`.
    pub line: String,
    /// The `Host` header.
    pub host: Option<String>,
    /// When it had been read.
    pub at: Instant,
}

/// A running application, healthy at first. Dropping it closes its connections and joins its threads.
pub struct Application {
    shared: Arc<Shared>,
    listener: Mutex<Listener>,
    /// Without a path.
    url: String,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Option<Arc<ServerConfig>>,
}

struct State {
    behaviour: Behaviour,
    stopping: bool,
    connections: usize,
    probes: Vec<Probe>,
    /// The open connections, by number, so that another thread can close them.
    open: HashMap<usize, Socket>,
    threads: Vec<JoinHandle<()>>,
}

impl Application {
    /// Listens on a port of 127.0.0.1.
    ///
    /// # Errors
    /// Loopback has no free port, or there are no threads left.
    pub fn start() -> io::Result<Application> {
        Application::on_port(None)
    }

    /// The same with TLS, such as that of a mock Robot
    /// ([`Robot::tls`](crate::robot::Robot::tls)).
    ///
    /// # Errors
    /// As [`Application::start`].
    pub fn start_tls(tls: Arc<ServerConfig>) -> io::Result<Application> {
        Application::on_port(Some(tls))
    }

    /// Listens on a unix socket. Its file is removed at the end.
    ///
    /// # Errors
    /// The socket cannot be created there.
    pub fn start_unix(path: &Path) -> io::Result<Application> {
        let listener = Listener::Unix {
            path: path.to_owned(),
            acceptor: None,
        };
        Application::on(listener, None, format!("unix://{}", path.display()))
    }

    fn on_port(tls: Option<Arc<ServerConfig>>) -> io::Result<Application> {
        let port = Port::reserve((Ipv4Addr::LOCALHOST, 0).into())?;
        let url = match tls {
            None => format!("http://127.0.0.1:{}", port.number()),
            Some(_) => format!("https://localhost:{}", port.number()),
        };
        Application::on(Listener::Tcp(port), tls, url)
    }

    fn on(
        mut listener: Listener,
        tls: Option<Arc<ServerConfig>>,
        url: String,
    ) -> io::Result<Application> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                behaviour: Behaviour::Status(200),
                stopping: false,
                connections: 0,
                probes: Vec::new(),
                open: HashMap::new(),
                threads: Vec::new(),
            }),
            changed: Condvar::new(),
            tls,
        });
        listener.open(admitting(&shared))?;
        Ok(Application {
            shared,
            listener: Mutex::new(listener),
            url,
        })
    }

    /// Where it is: `http://127.0.0.1:8080/healthz` for the path `/healthz`. A unix socket has no path
    /// of that kind: `unix:///tmp/socket`.
    pub fn url(&self, path: &str) -> String {
        match self.port() {
            Some(_) => format!("{}{path}", self.url),
            None => self.url.clone(),
        }
    }

    /// Its port; `None` for a unix socket.
    pub fn port(&self) -> Option<u16> {
        match &*self.listener() {
            Listener::Tcp(port) => Some(port.number()),
            Listener::Unix { .. } => None,
        }
    }

    /// Changes how it answers from now on.
    ///
    /// # Errors
    /// It cannot listen again.
    pub fn set(&self, behaviour: Behaviour) -> io::Result<()> {
        let mut listener = self.listener();
        self.shared.change(|state| state.behaviour = behaviour);
        match behaviour {
            Behaviour::Refuse => {
                listener.close();
                self.shared.lock().close_connections();
                Ok(())
            }
            Behaviour::Status(_) | Behaviour::Hang => listener.open(admitting(&self.shared)),
        }
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// The requests so far, answered or not.
    pub fn probes(&self) -> Vec<Probe> {
        self.shared.lock().probes.clone()
    }

    /// Waits until so many connections have been accepted since the start; false if they have not
    /// within that time.
    pub fn wait_for_connections(&self, n: usize, timeout: Duration) -> bool {
        self.shared.wait(timeout, |state| state.connections >= n)
    }

    /// Waits until so many requests have come in since the start; false if they have not within that
    /// time.
    pub fn wait_for_probes(&self, n: usize, timeout: Duration) -> bool {
        self.shared.wait(timeout, |state| state.probes.len() >= n)
    }

    fn listener(&self) -> MutexGuard<'_, Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.change(|state| state.stopping = true);
        let mut listener = self.listener();
        listener.close();
        if let Listener::Unix { path, .. } = &*listener {
            // An error means that the file is gone already.
            let _ = fs::remove_file(path);
        }
        self.shared.lock().close_connections();
        let threads = self
            .shared
            .change(|state| std::mem::take(&mut state.threads));
        for thread in threads {
            // An error means that the thread panicked, and has reported it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn wait(&self, timeout: Duration, is_so: impl Fn(&State) -> bool) -> bool {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, timeout, |state| !is_so(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_so(&state)
    }
}

impl State {
    fn close_connections(&self) {
        for socket in self.open.values() {
            socket.shut_down();
        }
    }
}

fn admitting(shared: &Arc<Shared>) -> impl Fn(Socket) + Send + 'static {
    let shared = Arc::clone(shared);
    move |socket| admit(&shared, socket)
}

/// Gives a new connection a number and a thread.
fn admit(shared: &Arc<Shared>, socket: Socket) {
    let Ok(handle) = socket.try_clone() else {
        return;
    };
    shared.change(|state| {
        state.threads.retain(|thread| !thread.is_finished());
        let refused = state.stopping || state.behaviour == Behaviour::Refuse;
        if refused || state.open.len() >= MAX_CONNECTIONS {
            return;
        }
        state.connections += 1;
        let number = state.connections;
        state.open.insert(number, handle);
        let thread = thread::Builder::new().name("health".to_owned()).spawn({
            let shared = Arc::clone(shared);
            move || {
                // An error means that the peer has left, or was cut.
                let _ = shared.serve(socket);
                if let Some(handle) = shared.change(|state| state.open.remove(&number)) {
                    handle.shut_down();
                }
            }
        });
        match thread {
            Ok(thread) => state.threads.push(thread),
            Err(_) => drop(state.open.remove(&number)),
        }
    });
}

impl Shared {
    fn serve(&self, socket: Socket) -> io::Result<()> {
        match &self.tls {
            None => self.converse(socket),
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(session, socket);
                self.converse(&mut stream)?;
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }

    fn converse(&self, mut stream: impl Read + Write) -> io::Result<()> {
        let mut reader = Reader::default();
        while let Ok(Some(request)) = reader.next(&mut stream) {
            self.change(|state| state.probes.push(Probe::of(&request)));
            let Some(status) = self.status() else {
                break;
            };
            let answer = answer(status);
            stream.write_all(&answer.head())?;
            if request.method != "HEAD" {
                stream.write_all(&answer.body)?;
            }
            stream.flush()?;
            if !request.keep_alive {
                break;
            }
        }
        Ok(())
    }

    /// The status to answer, when there is one; `None` if the connection is to end.
    fn status(&self) -> Option<u16> {
        let state = self.lock();
        let hangs = |state: &mut State| !state.stopping && state.behaviour == Behaviour::Hang;
        let waited = self.changed.wait_while(state, hangs);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        match state.behaviour {
            Behaviour::Status(status) => Some(status),
            Behaviour::Hang | Behaviour::Refuse => None,
        }
    }
}

impl Probe {
    fn of(request: &Request) -> Probe {
        Probe {
            line: format!("{} {}", request.method, request.path),
            host: header(&request.headers, "host").map(str::to_owned),
            at: Instant::now(),
        }
    }
}

fn answer(status: u16) -> Answer {
    let mut headers = vec![header_line("Content-Type", "text/plain")];
    if (300..400).contains(&status) {
        headers.push(header_line("Location", "/redirected"));
    }
    let body = match status {
        204 | 304 => Vec::new(), // These have none.
        _ => format!("{status}\n").into_bytes(),
    };
    Answer {
        status,
        headers,
        body,
    }
}
