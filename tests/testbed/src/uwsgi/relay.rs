//! A way between two nodes that can be cut.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Passes what is sent to its port on to another, in one direction, until it is cut.
pub struct Relay {
    port: u16,
    state: Arc<State>,
}

struct State {
    open: AtomicBool,
    ended: AtomicBool,
}

impl Relay {
    /// # Panics
    /// Loopback has no free port.
    pub fn to(target: u16) -> Relay {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = socket.local_addr().expect("it is bound").port();
        // Woken now and then to see whether it has ended.
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout that is not zero");
        let state = Arc::new(State {
            open: AtomicBool::new(true),
            ended: AtomicBool::new(false),
        });
        let watched = state.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 65536];
            while !watched.ended.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut packet) else {
                    continue;
                };
                if watched.open.load(Ordering::Relaxed) {
                    // A node that is down does not hear it.
                    let _ = socket.send_to(&packet[..length], ("127.0.0.1", target));
                }
            }
        });
        Relay { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets packets pass, or not.
    pub fn set_open(&self, open: bool) {
        self.state.open.store(open, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
    }
}
