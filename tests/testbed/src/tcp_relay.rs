//! A way to a TCP server that can be refused, stalled and cut, for one client alone.

mod connection;
#[cfg(test)]
mod tests;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use connection::Connection;
use rustix::event::{PollFd, PollFlags, poll};

use crate::port::Reservation;

/// Connections at a time; further ones wait until one has ended.
const MAX_CONNECTIONS: usize = 256;

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
    /// How many bytes were passed on so far.
    bytes: AtomicU64,
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
            bytes: AtomicU64::new(0),
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

    /// How many bytes were passed on so far, in both directions.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
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
                let (target, shared) = (self.target, &self.shared);
                self.connections.retain_mut(|connection| {
                    match connection.pass(target, &shared.bytes) {
                        Ok(open) => open,
                        Err(_) => {
                            connection.reset();
                            false
                        }
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
        let has_room = self.connections.len() < MAX_CONNECTIONS;
        if let Some(listener) = self.listener.as_ref().filter(|_| has_room) {
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
        while self.connections.len() < MAX_CONNECTIONS {
            let Some(listener) = &self.listener else {
                break;
            };
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
