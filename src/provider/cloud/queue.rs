//! A lock that is waited for with a limit, and that can be kept from one call to the next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What only one at a time may do.
#[derive(Debug, Default)]
pub struct Queue {
    is_taken: Mutex<bool>,
    freed: Condvar,
}

/// The permission to do it. It is given back when this is dropped.
#[derive(Debug)]
pub struct Turn(Arc<Queue>);

impl Queue {
    fn is_taken(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn, until `end` at the latest. `None` if it did not come.
    pub fn enter(self: &Arc<Queue>, end: Instant) -> Option<Turn> {
        let within = end.saturating_duration_since(Instant::now());
        let waited = self
            .freed
            .wait_timeout_while(self.is_taken(), within, |is_taken| *is_taken);
        let (mut is_taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let was_taken = std::mem::replace(&mut *is_taken, true);
        (!was_taken).then(|| Turn(self.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.is_taken() = false;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_has_the_turn_and_the_next_gets_it_as_soon_as_it_is_given_back() {
        let queue = Arc::new(Queue::default());
        let turn = queue.enter(Instant::now());
        assert!(turn.is_some());
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(queue.enter(soon).is_none());
        let late = Instant::now() + Duration::from_secs(600);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.enter(late));
            drop(turn);
            assert!(waiting.join().unwrap().is_some());
        });
        assert!(queue.enter(Instant::now()).is_some());
    }
}
