//! Shared by all threads of a Robot: one state behind one lock, and one condition for every change.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::fault::{Method, Orders};
use super::limits::{Logins, Rate};
use super::record::{Event, Received};
use super::resource::{Failovers, Outcome, is_server_list};
use super::settings::Settings;
use crate::http::{Answer, Request};

/// The documented limit of `GET /server`.
const SERVER_LISTS_PER_HOUR: u32 = 200;

pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// `None` for plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) idle: Duration,
}

pub(super) struct State {
    pub(super) stopping: bool,
    pub(super) failovers: Failovers,
    pub(super) logins: Logins,
    server_lists: Rate,
    gets: Rate,
    posts: Rate,
    deletes: Rate,
    pub(super) orders: Orders,
    pub(super) requests: Vec<Received>,
    /// Connections accepted so far.
    pub(super) connections: usize,
    /// The open ones, by number, so that another thread can cut them.
    pub(super) open: HashMap<usize, TcpStream>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) audience: Option<Sender<Event>>,
}

impl Shared {
    pub(super) fn new(settings: &Settings, tls: Option<Arc<ServerConfig>>) -> io::Result<Shared> {
        Ok(Shared {
            state: Mutex::new(State {
                stopping: false,
                failovers: Failovers::new(settings)?,
                logins: Logins {
                    username: settings.username.clone(),
                    password: settings.password.clone(),
                    lockout: settings.lockout,
                    peers: HashMap::new(),
                },
                server_lists: Rate::new(Some(SERVER_LISTS_PER_HOUR)),
                gets: Rate::new(settings.gets_per_hour),
                posts: Rate::new(settings.posts_per_hour),
                deletes: Rate::new(settings.posts_per_hour),
                orders: Orders::default(),
                requests: Vec::new(),
                connections: 0,
                open: HashMap::new(),
                threads: Vec::new(),
                audience: None,
            }),
            changed: Condvar::new(),
            tls,
            idle: settings.idle,
        })
    }

    /// The state, for reading.
    pub(super) fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes all waiting threads.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.look());
        self.changed.notify_all();
        result
    }

    /// Waits until a condition holds; false if it does not by the deadline. `None` waits forever.
    pub(super) fn wait(
        &self,
        deadline: Option<Instant>,
        mut is_so: impl FnMut(&State) -> bool,
    ) -> bool {
        let mut state = self.look();
        loop {
            if is_so(&state) {
                return true;
            }
            let left = match deadline {
                None => Duration::MAX,
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    None | Some(Duration::ZERO) => return false,
                    Some(left) => left,
                },
            };
            state = self.sleep(state, left);
        }
    }

    /// Waits for this long; false if the Robot stops meanwhile.
    pub(super) fn pause(&self, time: Duration) -> bool {
        !self.wait(Instant::now().checked_add(time), |state| state.stopping)
    }

    /// Ends each switch when it is due. One thread does only this.
    pub(super) fn keep_time(&self) {
        let mut state = self.look();
        while !state.stopping {
            let now = Instant::now();
            if state.settle(now) {
                self.changed.notify_all();
            }
            let left = match state.failovers.next_settling() {
                None => Duration::MAX,
                Some(at) => at.saturating_duration_since(now),
            };
            state = self.sleep(state, left);
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        // Bounded, because a distant deadline overflows the clock on some systems; callers loop.
        let time = time.min(Duration::from_secs(3600));
        let (state, _) = self
            .changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner);
        state
    }
}

impl State {
    /// Whether a request is served at all: the login, then the request limit.
    pub(super) fn admit(&mut self, peer: IpAddr, request: &Request) -> Result<(), Answer> {
        let now = Instant::now();
        self.logins.admit(peer, &request.headers, now)?;
        match request.method.as_str() {
            "GET" if is_server_list(&request.path) => self.server_lists.admit(now),
            "GET" => self.gets.admit(now),
            "POST" => self.posts.admit(now),
            "DELETE" => self.deletes.admit(now),
            _ => Ok(()),
        }
    }

    pub(super) fn serve(&mut self, request: &Request) -> Outcome {
        let now = Instant::now();
        let outcome = self.failovers.serve(request, now);
        if let Outcome::Switching(ip, _) = outcome {
            let takes = self.failovers.switch_time;
            if !takes.is_zero() {
                self.tell(Event::Switching { ip, takes });
            }
        }
        self.settle(now);
        outcome
    }

    fn settle(&mut self, now: Instant) -> bool {
        let settled = self.failovers.settle(now);
        for &(ip, to) in &settled {
            self.tell(Event::Routed { ip, to });
        }
        !settled.is_empty()
    }

    pub(super) fn count(&self, method: Method) -> usize {
        let is = |request: &&Received| method.is(&request.method);
        self.requests.iter().filter(is).count()
    }

    /// Cuts every open connection, which wakes the threads that read or write there.
    pub(super) fn cut_connections(&self) {
        for stream in self.open.values() {
            // An error means that the peer was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(audience) = &self.audience {
            // An error means that the receiver is gone.
            let _ = audience.send(event);
        }
    }
}
