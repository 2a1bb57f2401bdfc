//! A lock that is waited for in turn and with a limit, and that can be kept from one call to the next.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What only one at a time may do.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Who has the turn is the first.
    waiting: VecDeque<u64>,
    next_number: u64,
}

/// The permission to do it. It is given back when this is dropped.
#[derive(Debug)]
pub struct Turn {
    queue: Arc<Queue>,
    number: u64,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn, until `end` at the latest. `None` if it did not come.
    pub fn enter(self: &Arc<Queue>, end: Instant) -> Option<Turn> {
        let mut state = self.state();
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.push_back(number);
        let within = end.saturating_duration_since(Instant::now());
        let is_later = |state: &mut State| state.waiting.front() != Some(&number);
        let waited = self.moved.wait_timeout_while(state, within, is_later);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_first = state.waiting.front() == Some(&number);
        drop(state);
        // Dropped, it leaves the queue.
        let turn = Turn {
            queue: self.clone(),
            number,
        };
        is_first.then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let number = self.number;
        self.queue.state().waiting.retain(|other| *other != number);
        self.queue.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_gets_the_turn_in_its_turn_and_who_has_left_is_not_waited_for() {
        let queue = Arc::new(Queue::default());
        let first = queue.enter(Instant::now());
        assert!(first.is_some());
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(queue.enter(soon).is_none());
        let late = Instant::now() + Duration::from_secs(600);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 1..=3 {
                let (queue, order) = (&queue, &order);
                scope.spawn(move || {
                    let turn = queue.enter(late);
                    order.lock().unwrap().push(number);
                    turn.is_some()
                });
                while queue.state().waiting.len() <= number {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
        assert!(queue.state().waiting.is_empty());
    }
}
