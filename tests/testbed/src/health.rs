//! An application whose health can be checked: a small HTTP server that falls sick on order.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Answer, Reader, Request, header, header_line};
use crate::port::{Acceptor, Port};

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

enum Listener {
    Tcp(Port),
    Unix {
        path: PathBuf,
        acceptor: Option<Acceptor<UnixListener>>,
    },
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

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
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
        listener.open(&shared)?;
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
            Behaviour::Status(_) | Behaviour::Hang => listener.open(&self.shared),
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

impl Listener {
    fn open(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        let shared = Arc::clone(shared);
        match self {
            Listener::Tcp(port) => {
                port.open(move |(stream, _)| admit(&shared, Socket::Tcp(stream)))
            }
            Listener::Unix {
                acceptor: Some(_), ..
            } => Ok(()),
            Listener::Unix { path, acceptor } => {
                // The file of the last time is still there, so that connections are refused.
                if let Err(error) = fs::remove_file(&*path)
                    && error.kind() != ErrorKind::NotFound
                {
                    return Err(error);
                }
                let listener = UnixListener::bind(path)?;
                let admit = move |stream| admit(&shared, Socket::Unix(stream));
                *acceptor = Some(Acceptor::start(listener, admit)?);
                Ok(())
            }
        }
    }

    fn close(&mut self) {
        match self {
            Listener::Tcp(port) => port.close(),
            Listener::Unix { acceptor, .. } => *acceptor = None,
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

impl Socket {
    fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
        })
    }

    fn shut_down(&self) {
        // An error means that the peer was faster.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.flush(),
            Socket::Unix(stream) => stream.flush(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robot::{Robot, Settings};

    const LONG: Duration = Duration::from_secs(20);
    const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: app.example\r\n\r\n";

    fn connect(application: &Application) -> io::Result<TcpStream> {
        let port = application.port().unwrap();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(LONG))?;
        Ok(stream)
    }

    /// The head of the answer to one request.
    fn probe(mut stream: impl Read + Write) -> io::Result<String> {
        stream.write_all(REQUEST.as_bytes())?;
        stream.flush()?;
        read_answer(&mut stream)
    }

    fn read_answer(stream: &mut impl Read) -> io::Result<String> {
        let mut text = Vec::new();
        // The body is a line of four bytes, after an empty line.
        while !(text.len() > 9 && text[..text.len() - 4].ends_with(b"\r\n\r\n")) {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            text.push(byte[0]);
        }
        String::from_utf8(text).map_err(io::Error::other)
    }

    #[test]
    fn it_answers_what_it_is_told_to_and_counts() {
        let application = Application::start().unwrap();
        let mut stream = connect(&application).unwrap();
        for status in [200, 503, 302] {
            application.set(Behaviour::Status(status)).unwrap();
            let answer = probe(&mut stream).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert_eq!(answer.contains("Location: "), status == 302);
        }
        assert!(application.wait_for_probes(3, LONG));
        let probes = application.probes();
        assert_eq!((probes.len(), application.connections()), (3, 1));
        assert_eq!(probes[0].line, "GET /healthz");
        assert_eq!(probes[0].host.as_deref(), Some("app.example"));
        let url = format!("http://127.0.0.1:{}/healthz", application.port().unwrap());
        assert_eq!(application.url("/healthz"), url);
    }

    #[test]
    fn what_hangs_is_answered_when_it_recovers_and_not_when_it_dies() {
        let application = Application::start().unwrap();
        for (number, then) in [(1, Behaviour::Status(200)), (2, Behaviour::Refuse)] {
            application.set(Behaviour::Hang).unwrap();
            let mut stream = connect(&application).unwrap();
            stream.write_all(REQUEST.as_bytes()).unwrap();
            assert!(application.wait_for_probes(number, LONG));
            application.set(then).unwrap();
            let answer = read_answer(&mut stream);
            assert_eq!(answer.is_ok(), then == Behaviour::Status(200), "{answer:?}");
        }
    }

    #[test]
    fn it_comes_back_on_the_same_port() {
        let application = Application::start().unwrap();
        let mut kept = connect(&application).unwrap();
        probe(&mut kept).unwrap();
        application.set(Behaviour::Refuse).unwrap();
        assert!(probe(&mut kept).is_err());
        let error = connect(&application).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        application.set(Behaviour::Status(404)).unwrap();
        let answer = probe(connect(&application).unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn it_can_be_behind_a_unix_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let application = Application::start_unix(&path).unwrap();
        assert_eq!(
            application.url("/healthz"),
            format!("unix://{}", path.display())
        );
        assert!(probe(UnixStream::connect(&path).unwrap()).is_ok());
        application.set(Behaviour::Refuse).unwrap();
        let error = UnixStream::connect(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        application.set(Behaviour::Status(200)).unwrap();
        // A connection is enough to be counted.
        drop(UnixStream::connect(&path).unwrap());
        assert!(application.wait_for_connections(2, LONG));
        drop(application);
        assert!(!path.exists());
    }

    #[test]
    fn it_can_be_behind_tls() {
        let robot = Robot::start(Settings::default()).unwrap();
        let application = Application::start_tls(robot.tls().unwrap()).unwrap();
        let stream = crate::robot::trusting(&robot, connect(&application).unwrap()).unwrap();
        assert!(probe(stream).unwrap().starts_with("HTTP/1.1 200 "));
        assert!(application.url("/").starts_with("https://localhost:"));
    }

    #[test]
    fn dropping_it_ends_whatever_hangs() {
        let application = Application::start().unwrap();
        application.set(Behaviour::Hang).unwrap();
        let silent = connect(&application).unwrap();
        let mut waiting = connect(&application).unwrap();
        waiting.write_all(REQUEST.as_bytes()).unwrap();
        assert!(application.wait_for_probes(1, LONG));
        assert!(application.wait_for_connections(2, LONG));
        drop(application);
        assert!(read_answer(&mut waiting).is_err());
        assert!(read_answer(&mut &silent).is_err());
    }
}
