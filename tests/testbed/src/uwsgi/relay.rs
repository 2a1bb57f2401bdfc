//! A way between two nodes that can be cut, and that can lose, delay, repeat and reorder packets.

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
        while let Some(Reverse(next)) = self.delayed.peek()
            && next.at <= now
        {
            if state.open {
                // An error means that the node is down.
                let _ = self.socket.send_to(&next.packet, self.target);
            }
            self.delayed.pop();
        }
    }
}

impl Quality {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    struct Scene {
        node: UdpSocket,
        peer: UdpSocket,
        relay: Relay,
        sent: u64,
    }

    impl Scene {
        fn with_seed(seed: u64) -> Scene {
            let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let (node, peer) = (bind(), bind());
            peer.set_read_timeout(Some(LONG)).unwrap();
            let relay = Relay::seeded(peer.local_addr().unwrap().port(), seed);
            node.connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
            Scene {
                node,
                peer,
                relay,
                sent: 0,
            }
        }

        /// Sends these, and waits until the relay has had them all.
        fn send(&mut self, packets: impl IntoIterator<Item = u8>) {
            for packet in packets {
                self.node.send(&[packet]).unwrap();
                self.sent += 1;
                // One by one, so that none is lost for want of room.
                assert!(self.relay.wait_for_packets(self.sent, LONG));
            }
        }

        fn receive(&self) -> u8 {
            let mut packet = [0];
            assert_eq!(self.peer.recv(&mut packet).unwrap(), 1);
            packet[0]
        }

        /// Whatever has arrived by now.
        fn arrived(&self) -> Vec<u8> {
            self.peer.set_nonblocking(true).unwrap();
            let mut packets = Vec::new();
            let mut packet = [0];
            while self.peer.recv(&mut packet).is_ok() {
                packets.push(packet[0]);
            }
            self.peer.set_nonblocking(false).unwrap();
            packets
        }
    }

    #[test]
    fn packets_pass_in_order_until_it_is_cut() {
        let mut scene = Scene::with_seed(0);
        scene.send(0..3);
        assert_eq!(scene.arrived(), [0, 1, 2]);
        scene.relay.set_open(false);
        scene.send(3..5);
        scene.relay.set_open(true);
        scene.send(5..6);
        assert_eq!(scene.arrived(), [5]);
    }

    #[test]
    fn loss_and_duplication_follow_from_the_seed_and_the_number_of_the_packet() {
        let quality = Quality {
            loss: 0.3,
            duplication: 0.3,
            ..Quality::default()
        };
        let run = |seed, perfect: u8| {
            let mut scene = Scene::with_seed(seed);
            scene.send(0..perfect);
            scene.relay.set_quality(quality);
            scene.send(perfect..200);
            scene.arrived()
        };
        let once = run(7, 0);
        assert_eq!(once, run(7, 0));
        assert_ne!(once, run(8, 0));
        let copies = |packets: &[u8], wanted| {
            let count = |n| packets.iter().filter(|&&packet| packet == n).count();
            (0..200).filter(|&n| count(n) == wanted).count()
        };
        for wanted in 0..3 {
            assert!(copies(&once, wanted) > 20, "{wanted}: {once:?}");
        }
        let later: Vec<u8> = once.iter().copied().filter(|&n| n >= 50).collect();
        assert!(run(7, 50).ends_with(&later));
    }

    #[test]
    fn delayed_packets_come_late_and_not_at_all_if_it_is_cut_meanwhile() {
        let mut scene = Scene::with_seed(0);
        let delay = Duration::from_millis(50);
        scene.relay.set_quality(Quality {
            delay,
            ..Quality::default()
        });
        let began = Instant::now();
        scene.send(0..2);
        assert_eq!([scene.receive(), scene.receive()], [0, 1]);
        assert!(began.elapsed() >= delay);
        let hour = Duration::from_secs(3600);
        scene.relay.set_quality(Quality {
            delay: hour,
            ..Quality::default()
        });
        scene.send(2..3);
        scene.relay.set_quality(Quality::default());
        scene.send(3..4);
        assert_eq!(scene.receive(), 3);
        // Dropping it does not wait for the other.
        let began = Instant::now();
        drop(scene);
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn jitter_lets_packets_overtake_each_other() {
        let mut scene = Scene::with_seed(1);
        scene.relay.set_quality(Quality {
            jitter: Duration::from_millis(300),
            ..Quality::default()
        });
        scene.send(0..50);
        let mut packets: Vec<u8> = (0..50).map(|_| scene.receive()).collect();
        assert!(!packets.is_sorted(), "{packets:?}");
        packets.sort_unstable();
        assert!(packets.into_iter().eq(0..50));
    }
}
