//! A client that asks the failover IP for a page, and notes who answers.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{FAILOVER_IP, Namespace};

/// The time between two requests. None waits for another's answer.
const EVERY: Duration = Duration::from_millis(50);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A request that was answered, by a server counted from 0.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub at: Instant,
    pub server: usize,
}

/// Asks, over a new connection each time, until it is dropped.
pub struct Client(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: Vec<Answer>,
    ended: bool,
}

impl Client {
    /// Starts one in a namespace.
    ///
    /// # Errors
    /// The namespace cannot be joined.
    pub fn start(namespace: &Namespace) -> io::Result<Client> {
        let shared = Arc::<Shared>::default();
        let asking = Arc::clone(&shared);
        thread::scope(|scope| {
            let started = scope.spawn(|| {
                namespace.join()?;
                // It inherits the namespace.
                thread::spawn(move || ask_on(&asking));
                Ok(())
            });
            started
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })?;
        Ok(Client(shared))
    }

    /// All answers so far.
    pub fn answers(&self) -> Vec<Answer> {
        self.0.lock().answers.clone()
    }

    /// Waits for the first answer since then that these servers give; `None` if patience ends first.
    pub fn wait_for(
        &self,
        since: Instant,
        is_meant: impl Fn(usize) -> bool,
        patience: Duration,
    ) -> Option<Answer> {
        let give_up = Instant::now() + patience;
        let mut state = self.0.lock();
        loop {
            let mut new = state.answers.iter().filter(|answer| answer.at >= since);
            if let Some(answer) = new.find(|answer| is_meant(answer.server)) {
                return Some(*answer);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.lock().ended = true;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask_on(shared: &Arc<Shared>) {
    let mut next = Instant::now();
    while !shared.lock().ended {
        let asking = Arc::clone(shared);
        thread::spawn(move || {
            // Without an answer there is nothing to note.
            if let Ok(server) = ask() {
                let at = Instant::now();
                asking.lock().answers.push(Answer { at, server });
                asking.changed.notify_all();
            }
        });
        next += EVERY;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Asks once. The page is the server's host name.
fn ask() -> io::Result<usize> {
    let address = SocketAddr::from((FAILOVER_IP, 80));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {FAILOVER_IP}\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let number = page.rsplit("server").next().unwrap_or_default();
    match number.trim().parse() {
        Ok(number @ 1..=super::SERVERS) => Ok(number - 1),
        Ok(_) | Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}
