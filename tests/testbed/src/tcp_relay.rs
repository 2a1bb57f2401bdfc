//! A way to a TCP server that can be refused, stalled and cut, for one client alone.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

use crate::port::Reservation;

/// Connections at a time; further ones wait until one has ended.
const MAX_CONNECTIONS: usize = 256;
/// The most bytes that are on their way in one direction of a connection.
const MAX_BUFFER: usize = 64 * 1024;
/// How long a connection to the target may take, on loopback.
const CONNECT: Duration = Duration::from_secs(1);

/// What a relay does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything passes.
    Open,
    /// New connections are refused; the port stays reserved. Those that exist go on, until
    /// [`TcpRelay::cut`].
    Refuse,
    /// Connections are accepted and kept, and nothing passes, in either direction. When the relay
    /// is open again, everything that was sent meanwhile arrives.
    Stall,
}

/// Passes TCP connections to its port on to another port of 127.0.0.1. One thread does it all, and
/// ends when this is dropped, which resets the connections.
pub struct TcpRelay {
    port: u16,
    shared: Arc<Shared>,
    /// Wakes the thread.
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
}

struct Control {
    state: State,
    cut: bool,
    stop: bool,
    /// Orders given, and orders carried out.
    given: u64,
    done: u64,
    /// Why the last order could not be carried out.
    error: Option<io::Error>,
    accepted: usize,
}

impl TcpRelay {
    /// Starts an open relay to a port.
    ///
    /// # Errors
    /// Loopback has no free port, or there are no descriptors or threads left.
    pub fn to(target: u16) -> io::Result<TcpRelay> {
        let reservation = Reservation::new((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = reservation.number();
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            control: Mutex::new(Control {
                state: State::Open,
                cut: false,
                stop: false,
                given: 0,
                done: 0,
                error: None,
                accepted: 0,
            }),
            changed: Condvar::new(),
        });
        let mut worker = Worker {
            listener: Some(listen(&reservation)?),
            reservation,
            target: (Ipv4Addr::LOCALHOST, target).into(),
            state: State::Open,
            connections: Vec::new(),
            rung,
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("tcp-relay".to_owned())
            .spawn(move || worker.run())?;
        Ok(TcpRelay {
            port,
            shared,
            bell,
            thread: Some(thread),
        })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what happens from now on. It is so when this returns.
    ///
    /// # Panics
    /// If the port cannot be listened on again.
    pub fn set(&self, state: State) {
        self.order(|control| control.state = state);
    }

    /// Resets all connections that exist, at both ends. They are gone when this returns.
    pub fn cut(&self) {
        self.order(|control| control.cut = true);
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().accepted
    }

    /// Waits until so many connections have been accepted since the start; false if they have not
    /// within that time.
    pub fn wait_for_connections(&self, n: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut control = self.shared.lock();
        while control.accepted < n {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(control, left);
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn order(&self, order: impl FnOnce(&mut Control)) {
        let mut control = self.shared.lock();
        order(&mut control);
        control.given += 1;
        let mine = control.given;
        self.ring();
        while control.done < mine {
            let waited = self.shared.changed.wait(control);
            control = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let error = control.error.take();
        drop(control);
        if let Some(error) = error {
            panic!("port {}: {error}", self.port);
        }
    }

    fn ring(&self) {
        // An error means that it is ringing already.
        let _ = (&self.bell).write(&[0]);
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.ring();
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, and has reported it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread owns.
struct Worker {
    reservation: Reservation,
    listener: Option<TcpListener>,
    target: SocketAddr,
    state: State,
    connections: Vec<Connection>,
    rung: UnixStream,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(&mut self) {
        while self.obey() {
            self.wait();
            self.accept();
            if self.state != State::Stall {
                let target = self.target;
                self.connections
                    .retain_mut(|connection| match connection.pass(target) {
                        Ok(open) => open,
                        Err(_) => {
                            connection.reset();
                            false
                        }
                    });
            }
        }
        for connection in &self.connections {
            connection.reset();
        }
    }

    /// Carries out what was ordered; false if that is to stop.
    fn obey(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut control = shared.lock();
        if control.stop {
            return false;
        }
        if control.given == control.done {
            return true;
        }
        if control.cut {
            control.cut = false;
            // With those that wait to be accepted.
            control.accepted += self.accept_all();
            for connection in self.connections.drain(..) {
                connection.reset();
            }
        }
        self.state = control.state;
        match (self.state, &self.listener) {
            (State::Refuse, _) => self.listener = None,
            (State::Open | State::Stall, Some(_)) => {}
            (State::Open | State::Stall, None) => match listen(&self.reservation) {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => control.error = Some(error),
            },
        }
        control.done = control.given;
        shared.changed.notify_all();
        true
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        let mut watched = vec![PollFd::new(&self.rung, PollFlags::IN)];
        if let Some(listener) = &self.listener
            && self.connections.len() < MAX_CONNECTIONS
        {
            watched.push(PollFd::new(listener, PollFlags::IN));
        }
        // A poll reports a connection's end even if it was not asked for.
        if self.state != State::Stall {
            for connection in &self.connections {
                connection.watch(&mut watched);
            }
        }
        // An error means that a signal interrupted it.
        let _ = poll(&mut watched, None);
        drop(watched);
        let _ = self.rung.read(&mut [0; 64]);
    }

    fn accept(&mut self) {
        let accepted = self.accept_all();
        if accepted > 0 {
            self.shared.lock().accepted += accepted;
            self.shared.changed.notify_all();
        }
    }

    fn accept_all(&mut self) -> usize {
        let before = self.connections.len();
        while let Some(listener) = &self.listener
            && self.connections.len() < MAX_CONNECTIONS
        {
            // An error means that no connection is pending.
            let Ok((client, _)) = listener.accept() else {
                break;
            };
            if client.set_nonblocking(true).is_ok() {
                self.connections.push(Connection::of(client));
            }
        }
        self.connections.len() - before
    }
}

fn listen(reservation: &Reservation) -> io::Result<TcpListener> {
    let listener = reservation.listen()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Connection {
    client: TcpStream,
    /// `None` until something may pass for the first time.
    server: Option<TcpStream>,
    to_server: Flow,
    to_client: Flow,
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    bytes: Vec<u8>,
    /// The source has sent its last byte.
    ended: bool,
    /// The sink knows.
    closed: bool,
}

impl Connection {
    fn of(client: TcpStream) -> Connection {
        Connection {
            client,
            server: None,
            to_server: Flow::default(),
            to_client: Flow::default(),
        }
    }

    fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) {
        let Some(server) = &self.server else {
            return;
        };
        for (stream, from, to) in [
            (&self.client, &self.to_server, &self.to_client),
            (server, &self.to_client, &self.to_server),
        ] {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, from.has_room());
            events.set(PollFlags::OUT, !to.bytes.is_empty());
            if !events.is_empty() {
                watched.push(PollFd::new(stream, events));
            }
        }
    }

    /// Passes on what can be; false if the connection has come to its end in good order.
    fn pass(&mut self, target: SocketAddr) -> io::Result<bool> {
        if self.server.is_none() {
            let server = TcpStream::connect_timeout(&target, CONNECT)?;
            server.set_nonblocking(true)?;
            for stream in [&self.client, &server] {
                stream.set_nodelay(true)?;
            }
            self.server = Some(server);
        }
        let Some(server) = &self.server else {
            return Ok(false); // It is there now.
        };
        self.to_server.pass(&self.client, server)?;
        self.to_client.pass(server, &self.client)?;
        Ok(!(self.to_server.closed && self.to_client.closed))
    }

    fn reset(&self) {
        for stream in [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
        {
            // If it fails, the peer sees a close instead of a reset, and the test fails.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Flow {
    fn has_room(&self) -> bool {
        !self.ended && self.bytes.len() < MAX_BUFFER
    }

    fn pass(&mut self, mut source: &TcpStream, mut sink: &TcpStream) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        while self.has_room() {
            match source.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(read) => self.bytes.extend_from_slice(&chunk[..read]),
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        while !self.bytes.is_empty() {
            match sink.write(&self.bytes) {
                Ok(written) => drop(self.bytes.drain(..written)),
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.ended && !self.closed {
            self.closed = true;
            sink.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    struct Scene {
        server: TcpListener,
        relay: TcpRelay,
    }

    impl Scene {
        fn new() -> Scene {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let relay = TcpRelay::to(server.local_addr().unwrap().port()).unwrap();
            Scene { server, relay }
        }

        fn connect(&self) -> io::Result<TcpStream> {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.relay.port()))?;
            stream.set_read_timeout(Some(LONG))?;
            Ok(stream)
        }

        /// Both ends of a new connection.
        fn connected(&self) -> (TcpStream, TcpStream) {
            let client = self.connect().unwrap();
            let (server, _) = self.server.accept().unwrap();
            server.set_read_timeout(Some(LONG)).unwrap();
            (client, server)
        }
    }

    #[track_caller]
    fn arrives(bytes: &[u8], mut from: &TcpStream, mut at: &TcpStream) {
        from.write_all(bytes).unwrap();
        let mut read = vec![0; bytes.len()];
        at.read_exact(&mut read).unwrap();
        assert_eq!(read, bytes);
    }

    #[track_caller]
    fn was_reset(mut stream: &TcpStream) {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn bytes_and_their_end_pass_in_both_directions() {
        let scene = Scene::new();
        let (mut client, mut server) = scene.connected();
        arrives(b"question", &client, &server);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        // More than fits into all buffers, so that the relay has to wait for the reader.
        let answer = vec![7; 16 << 20];
        thread::scope(|scope| {
            scope.spawn(|| {
                server.write_all(&answer).unwrap();
                server.shutdown(Shutdown::Both).unwrap();
            });
            let mut read = Vec::new();
            client.read_to_end(&mut read).unwrap();
            assert!(read == answer);
        });
        assert_eq!(scene.relay.connections(), 1);
    }

    #[test]
    fn refused_connections_come_back_on_the_same_port_and_old_ones_live_on() {
        let scene = Scene::new();
        let (client, server) = scene.connected();
        scene.relay.set(State::Refuse);
        let error = scene.connect().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        arrives(b"still", &client, &server);
        scene.relay.set(State::Open);
        let (client, server) = scene.connected();
        arrives(b"again", &client, &server);
    }

    #[test]
    fn nothing_passes_while_it_stalls_and_everything_afterwards() {
        let scene = Scene::new();
        let (client, mut server) = scene.connected();
        scene.relay.set(State::Stall);
        (&client).write_all(b"late").unwrap();
        let mut second = scene.connect().unwrap();
        second.write_all(b"too").unwrap();
        // When a connection that was made later is seen, those bytes could have passed.
        assert!(scene.relay.wait_for_connections(2, LONG));
        let third = scene.connect().unwrap();
        assert!(scene.relay.wait_for_connections(3, LONG));
        server.set_nonblocking(true).unwrap();
        let error = server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        scene.server.set_nonblocking(true).unwrap();
        let error = scene.server.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        scene.server.set_nonblocking(false).unwrap();
        server.set_nonblocking(false).unwrap();

        scene.relay.set(State::Open);
        let mut read = [0; 4];
        server.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"late");
        let (mut server, _) = scene.server.accept().unwrap();
        let mut read = [0; 3];
        server.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"too");
        drop(third);
    }

    #[test]
    fn a_cut_resets_both_ends_in_every_state() {
        let scene = Scene::new();
        for state in [State::Open, State::Refuse, State::Stall] {
            scene.relay.set(State::Open);
            let (client, server) = scene.connected();
            scene.relay.set(state);
            scene.relay.cut();
            was_reset(&client);
            was_reset(&server);
        }
        scene.relay.set(State::Open);
        let (client, server) = scene.connected();
        arrives(b"new", &client, &server);
    }

    #[test]
    fn an_end_that_leaves_takes_the_other_with_it() {
        let scene = Scene::new();
        let (client, server) = scene.connected();
        SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        was_reset(&server);
        // A server that is down cannot refuse any more, since the relay has accepted.
        let Scene { server, relay } = scene;
        drop(server);
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        assert!(!matches!(client.read(&mut [0]), Ok(1)));
    }

    #[test]
    fn dropping_it_resets_connections_and_frees_the_port() {
        let scene = Scene::new();
        let (client, server) = scene.connected();
        scene.relay.set(State::Stall);
        let port = scene.relay.port();
        drop(scene.relay);
        was_reset(&client);
        was_reset(&server);
        let error = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
