//! A peer that only listens to the nodes of a legion.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

type Counts = Arc<(Mutex<HashMap<u16, usize>>, Condvar)>;

/// Counts the announcements of nodes that list it as a `legion-node`. They are encrypted, so only
/// their sender and their time are known.
pub struct Observer {
    port: u16,
    counts: Counts,
}

impl Observer {
    /// # Panics
    /// Loopback has no free port.
    pub fn start() -> Observer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = socket.local_addr().expect("it is bound").port();
        let counts = Counts::default();
        let counted = Arc::downgrade(&counts);
        // Wakes up now and then to check whether the observer still exists.
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout that is not zero");
        std::thread::spawn(move || {
            while let Some(counts) = counted.upgrade() {
                if let Ok((_, from)) = socket.recv_from(&mut [0; 65536]) {
                    *counts.0.lock().unwrap().entry(from.port()).or_default() += 1;
                    counts.1.notify_all();
                }
            }
        });
        Observer { port, counts }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many announcements have come from the node with this legion port.
    pub fn count(&self, node: u16) -> usize {
        let counts = self.counts.0.lock().unwrap();
        counts.get(&node).copied().unwrap_or_default()
    }

    /// Waits for `more` further announcements of that node.
    pub fn wait_for_more(&self, node: u16, more: usize, patience: Duration) -> bool {
        let give_up = Instant::now() + patience;
        let (counts, changed) = &*self.counts;
        let mut counts = counts.lock().unwrap();
        let count = |counts: &HashMap<u16, usize>| counts.get(&node).copied().unwrap_or_default();
        let wanted = count(&counts) + more;
        while count(&counts) < wanted {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            counts = changed.wait_timeout(counts, left).unwrap().0;
        }
        true
    }
}
