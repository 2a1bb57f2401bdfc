//! When the move of an alias IP may be interrupted: not between its two steps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::takeover::{Change, Look, Problem, Provider, Tempo};

/// How far a move is, as its takeover and the thread that interrupts it share it.
#[derive(Debug, Default)]
pub struct Steps(Mutex<State>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The address was not taken off its server.
    #[default]
    Idle,
    /// A step is being requested, or the address is on no server.
    UnderWay,
    /// No other step may begin.
    Stopped,
}

impl Steps {
    /// Keeps further steps from beginning. Returns `false` if it is too late for that, because the
    /// address may be on no server.
    pub fn stop(&self) -> bool {
        let mut state = self.state();
        if *state == State::Idle {
            *state = State::Stopped;
        }
        *state == State::Stopped
    }

    /// A step is about to be requested. Returns whether it may be.
    fn begin(&self) -> bool {
        let mut state = self.state();
        if *state == State::Idle {
            *state = State::UnderWay;
        }
        *state == State::UnderWay
    }

    /// An answer tells whether the address is on no server.
    fn note(&self, is_half_done: bool) {
        let mut state = self.state();
        if *state != State::Stopped {
            *state = match is_half_done {
                true => State::UnderWay,
                false => State::Idle,
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client whose steps are noted, and can be stopped.
pub struct Stoppable {
    pub client: Box<dyn Provider>,
    pub steps: Arc<Steps>,
}

impl Provider for Stoppable {
    fn change(&mut self, within: Duration, is_elected: &dyn Fn() -> bool) -> Change {
        let steps = &self.steps;
        let is_allowed = || is_elected() && steps.begin();
        let change = self.client.change(within, &is_allowed);
        // The takeover ends then, which is no time to stop it.
        if !matches!(change, Change::Done | Change::Found) {
            steps.note(self.client.is_half_done());
        }
        change
    }

    fn look(&mut self, within: Duration) -> Look {
        let look = self.client.look(within);
        if !matches!(look, Look::Ours) {
            self.steps.note(self.client.is_half_done());
        }
        look
    }

    fn requests(&self) -> u32 {
        self.client.requests()
    }

    fn tempo(&self) -> &'static Tempo {
        self.client.tempo()
    }

    fn is_half_done(&self) -> bool {
        self.client.is_half_done()
    }

    fn steps(&self) -> u32 {
        self.client.steps()
    }

    fn remark(&self) -> Option<Problem> {
        self.client.remark()
    }

    fn has_refused_login(&self) -> bool {
        self.client.has_refused_login()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_comes_before_a_step_or_after_all() {
        let steps = Steps::default();
        assert!(steps.begin());
        assert!(!steps.stop(), "a step is being requested");
        steps.note(true);
        assert!(!steps.stop(), "the address is on no server");
        assert!(steps.begin());
        steps.note(false);
        assert!(steps.stop());
        assert!(!steps.begin());
        // What was being read meanwhile does not undo it.
        steps.note(false);
        assert!(steps.stop() && !steps.begin());
    }
}
