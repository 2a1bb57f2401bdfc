//! A way between two nodes that can be cut, and that can lose, delay, repeat and reorder packets.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// The most packets that are delayed at a time; further ones are lost.
const MAX_DELAYED: usize = 10_000;
/// The shortest timeout that a socket takes.
const SHORTEST: Duration = Duration::from_millis(1);

/// How well packets pass. By default each passes once, and at once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// The share of packets that are lost, from 0 to 1.
    pub loss: f64,
    /// The share of packets that arrive twice, from 0 to 1; the second time with a delay of its
    /// own.
    pub duplication: f64,
    /// How long each packet takes.
    pub delay: Duration,
    /// How much longer it may take, at random: packets sent within this time can overtake each
    /// other.
    pub jitter: Duration,
}

/// Passes packets to its port on to another port of 127.0.0.1, in one direction. Its thread ends when
/// this is dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The relay's own, to wake its thread.
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    open: bool,
    quality: Quality,
    received: u64,
    ended: bool,
}

impl Relay {
    /// An open relay to a port, without faults.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub fn to(target: u16) -> Relay {
        Relay::seeded(target, 0)
    }

    /// The same, with a seed for [`Relay::set_quality`]: what happens to the nth packet depends on the
    /// seed and the quality alone.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub fn seeded(target: u16, seed: u64) -> Relay {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = socket.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                open: true,
                quality: Quality::default(),
                received: 0,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let mut worker = Worker {
            socket: socket.try_clone().expect("a descriptor is left"),
            target: (Ipv4Addr::LOCALHOST, target).into(),
            shared: Arc::clone(&shared),
            random: Rng::with_seed(seed),
            delayed: BinaryHeap::new(),
            number: 0,
        };
        let thread = thread::spawn(move || worker.run());
        Relay {
            address,
            shared,
            socket,
            thread: Some(thread),
        }
    }

    /// The port to send to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets packets pass, or not. Those that are delayed are lost if it is not open when their time
    /// has come.
    pub fn set_open(&self, open: bool) {
        self.shared.lock().open = open;
    }

    /// Changes how well the packets pass that come in from now on.
    pub fn set_quality(&self, quality: Quality) {
        self.shared.lock().quality = quality;
    }

    /// Waits until so many packets have come in since the start, passed on or not; false if they
    /// have not within that time. Those without a delay have arrived by then.
    pub fn wait_for_packets(&self, n: u64, timeout: Duration) -> bool {
        let state = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, timeout, |state| state.received < n);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.received >= n
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        // If it fails, the packets that fill the socket wake the thread.
        let _ = self.socket.send_to(&[], self.address);
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, and has reported it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread owns.
struct Worker {
    socket: UdpSocket,
    target: SocketAddr,
    shared: Arc<Shared>,
    random: Rng,
    /// The next first.
    delayed: BinaryHeap<Reverse<Delayed>>,
    number: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    at: Instant,
    /// Packets of the same time keep their order.
    number: u64,
    packet: Vec<u8>,
}

/// What happens to one packet: the delay of each of its copies.
struct Fate {
    first: Option<Duration>,
    second: Option<Duration>,
}

impl Worker {
    fn run(&mut self) {
        let mut packet = [0; 65536];
        loop {
            let received = self.receive(&mut packet);
            let shared = Arc::clone(&self.shared);
            let mut state = shared.lock();
            if state.ended {
                return;
            }
            if let Ok(length) = received {
                self.take(&packet[..length], &state);
                state.received += 1;
            }
            self.deliver(&state);
            shared.changed.notify_all();
        }
    }

    /// Waits for a packet, at most until the next delayed one is due.
    fn receive(&self, packet: &mut [u8]) -> io::Result<usize> {
        let left = self.delayed.peek().map(|Reverse(next)| {
            let left = next.at.saturating_duration_since(Instant::now());
            left.max(SHORTEST)
        });
        self.socket.set_read_timeout(left)?;
        self.socket.recv(packet)
    }

    fn take(&mut self, packet: &[u8], state: &State) {
        let fate = state.quality.fate(&mut self.random);
        if !state.open {
            return;
        }
        let now = Instant::now();
        for delay in [fate.first, fate.second].into_iter().flatten() {
            if self.delayed.len() >= MAX_DELAYED {
                return;
            }
            self.number += 1;
            self.delayed.push(Reverse(Delayed {
                at: now + delay,
                number: self.number,
                packet: packet.to_vec(),
            }));
        }
    }

    fn deliver(&mut self, state: &State) {
        let now = Instant::now();
        let is_due = |Reverse(next): &Reverse<Delayed>| next.at <= now;
        while self.delayed.peek().is_some_and(is_due) {
            let next = self.delayed.pop().filter(|_| state.open);
            if let Some(Reverse(next)) = next {
                // An error means that the node is down.
                let _ = self.socket.send_to(&next.packet, self.target);
            }
        }
    }
}

impl Quality {
    /// Which of its first packets a relay with this seed and this quality loses.
    pub fn losses(&self, seed: u64, packets: usize) -> Vec<bool> {
        let mut random = Rng::with_seed(seed);
        let fates = (0..packets).map(|_| self.fate(&mut random));
        fates.map(|fate| fate.first.is_none()).collect()
    }

    /// Takes the same number of random numbers for every packet, so that a change of quality does not
    /// change what happens to later packets.
    fn fate(&self, random: &mut Rng) -> Fate {
        let [lost, doubled, first, second] = std::array::from_fn(|_| random.f64());
        let delay = |share| self.delay + self.jitter.mul_f64(share);
        Fate {
            first: (lost >= self.loss).then(|| delay(first)),
            second: (lost >= self.loss && doubled < self.duplication).then(|| delay(second)),
        }
    }
}
