//! Holds the takeovers of one account back until its login was tried once: a webservice blocks a host
//! after a few refused logins, and each takeover would be one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Change, Look, Problem, Provider, Tempo};

/// Closed until the first takeover of the account has an answer.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Closed,
    Open,
    /// The login was refused, for this reason.
    Refused(Problem),
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the first takeover has an answer, for at most `within`. Returns why the login was
    /// refused, if it was.
    pub fn wait(&self, within: Duration) -> Option<Problem> {
        let is_closed = |state: &mut State| matches!(state, State::Closed);
        let waited = self
            .opened
            .wait_timeout_while(self.state(), within, is_closed);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Refused(problem) => Some(problem.clone()),
            State::Closed | State::Open => None,
        }
    }

    /// Lets the others begin.
    pub fn open(&self) {
        self.set(State::Open);
    }

    fn set(&self, state: State) {
        let mut current = self.state();
        if matches!(*current, State::Closed) {
            *current = state;
            self.opened.notify_all();
        }
    }
}

/// The provider of the first takeover, whose first answer opens the gate.
pub struct First<'a> {
    pub provider: &'a mut dyn Provider,
    pub gate: &'a Gate,
}

impl First<'_> {
    fn open(&self, problem: Option<&Problem>) {
        self.gate.set(match problem {
            Some(problem) if self.provider.has_refused_login() => State::Refused(problem.clone()),
            Some(_) | None => State::Open,
        });
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.gate.open();
    }
}

impl Provider for First<'_> {
    fn change(&mut self, within: Duration) -> Change {
        // Its answer may take minutes, so the others do not wait for it.
        self.gate.open();
        self.provider.change(within)
    }

    fn look(&mut self, within: Duration) -> Look {
        let look = self.provider.look(within);
        match &look {
            Look::Refused(problem) => self.open(Some(problem)),
            _ => self.open(None),
        }
        look
    }

    fn requests(&self) -> u32 {
        self.provider.requests()
    }

    fn tempo(&self) -> &'static Tempo {
        self.provider.tempo()
    }

    fn is_half_done(&self) -> bool {
        self.provider.is_half_done()
    }

    fn has_refused_login(&self) -> bool {
        self.provider.has_refused_login()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::robot::TEMPO;

    struct Answers {
        look: Option<Look>,
        refuses: bool,
    }

    impl Provider for Answers {
        fn change(&mut self, _: Duration) -> Change {
            Change::Done
        }

        fn look(&mut self, _: Duration) -> Look {
            self.look.take().unwrap()
        }

        fn requests(&self) -> u32 {
            1
        }

        fn tempo(&self) -> &'static Tempo {
            &TEMPO
        }

        fn has_refused_login(&self) -> bool {
            self.refuses
        }
    }

    /// Whether the gate lets the others begin, after this first look.
    fn lets_begin(look: Look, refuses: bool) -> bool {
        let gate = Gate::default();
        let look = Some(look);
        let provider = &mut Answers { look, refuses };
        let mut first = First {
            provider,
            gate: &gate,
        };
        first.look(Duration::ZERO);
        assert!(!matches!(*gate.state(), State::Closed));
        gate.wait(Duration::ZERO).is_none()
    }

    #[test]
    fn only_a_refused_login_keeps_the_others_back() {
        let problem = || Problem::new("it is broken");
        assert!(!lets_begin(Look::Refused(problem()), true));
        assert!(lets_begin(Look::Refused(problem()), false));
        assert!(lets_begin(Look::Ours, false));
        assert!(lets_begin(Look::NotConnected(problem()), false));
    }

    #[test]
    fn the_others_wait_for_the_first_answer_and_no_longer_than_the_first_lives() {
        let gate = Gate::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait(Duration::from_secs(600)));
            let provider = &mut Answers {
                look: None,
                refuses: false,
            };
            drop(First {
                provider,
                gate: &gate,
            });
            assert!(waiting.join().unwrap().is_none());
        });
    }
}
