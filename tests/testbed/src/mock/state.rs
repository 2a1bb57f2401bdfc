//! Shared by all threads of a service: one state behind one lock, and one condition for every change.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::fault::{Fault, Orders};
use super::record::Received;
use super::service::{Kind as _, Outcome, Service};
use crate::http::Request;

pub(super) struct Shared<S: Service> {
    state: Mutex<State<S>>,
    changed: Condvar,
    /// `None` for plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) idle: Duration,
}

pub(super) struct State<S: Service> {
    pub(super) stopping: bool,
    pub(super) service: S,
    pub(super) orders: Orders<S::Kind, S::Quirk>,
    pub(super) requests: Vec<Received>,
    /// Connections accepted so far.
    pub(super) connections: usize,
    /// The open ones, by number, so that another thread can cut them.
    pub(super) open: HashMap<usize, TcpStream>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) audience: Option<Sender<S::Event>>,
}

impl<S: Service> Shared<S> {
    pub(super) fn new(service: S, tls: Option<Arc<ServerConfig>>, idle: Duration) -> Shared<S> {
        Shared {
            state: Mutex::new(State {
                stopping: false,
                service,
                orders: Orders::default(),
                requests: Vec::new(),
                connections: 0,
                open: HashMap::new(),
                threads: Vec::new(),
                audience: None,
            }),
            changed: Condvar::new(),
            tls,
            idle,
        }
    }

    /// The state, for reading.
    pub(super) fn look(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes all waiting threads.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State<S>) -> T) -> T {
        let mut state = self.look();
        let result = change(&mut state);
        state.tell_events();
        drop(state);
        self.changed.notify_all();
        result
    }

    /// Waits until a condition holds; false if it does not by the deadline. `None` waits forever.
    pub(super) fn wait(
        &self,
        deadline: Option<Instant>,
        mut is_so: impl FnMut(&State<S>) -> bool,
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

    /// Waits for this long; false if the service stops meanwhile.
    pub(super) fn pause(&self, time: Duration) -> bool {
        !self.wait(Instant::now().checked_add(time), |state| state.stopping)
    }

    /// Ends each change when it is due. One thread does only this.
    pub(super) fn keep_time(&self) {
        let mut state = self.look();
        while !state.stopping {
            let now = Instant::now();
            state.service.settle(now);
            if state.tell_events() {
                self.changed.notify_all();
            }
            let left = match state.service.next_settling() {
                None => Duration::MAX,
                Some(at) => at.saturating_duration_since(now),
            };
            state = self.sleep(state, left);
        }
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State<S>>,
        time: Duration,
    ) -> MutexGuard<'a, State<S>> {
        // Bounded, because a distant deadline overflows the clock on some systems; callers loop.
        let time = time.min(Duration::from_secs(3600));
        let (state, _) = self
            .changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner);
        state
    }
}

impl<S: Service> State<S> {
    pub(super) fn serve(
        &mut self,
        request: &Request,
        fault: &Fault<S::Quirk>,
    ) -> Outcome<S::Change> {
        let now = Instant::now();
        let outcome = self.service.serve(request, fault.quirk(), now);
        self.service.settle(now);
        outcome
    }

    /// Sends the service's events; false if there are none.
    fn tell_events(&mut self) -> bool {
        let events = self.service.take_events();
        let any = !events.is_empty();
        for event in events {
            self.tell(event);
        }
        any
    }

    pub(super) fn count(&self, kind: &S::Kind) -> usize {
        let is = |request: &&Received| kind.is(&request.method, &request.path);
        self.requests.iter().filter(is).count()
    }

    /// Cuts every open connection, which wakes the threads that read or write there.
    pub(super) fn cut_connections(&self) {
        for stream in self.open.values() {
            // An error means that the peer was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn tell(&self, event: impl Into<S::Event>) {
        if let Some(audience) = &self.audience {
            // An error means that the receiver is gone.
            let _ = audience.send(event.into());
        }
    }
}
