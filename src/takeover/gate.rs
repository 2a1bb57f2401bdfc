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
    fn judge(&self, look: &Look) {
        match look {
            Look::Refused(problem) if self.provider.has_refused_login() => {
                self.gate.set(State::Refused(problem.clone()));
            }
            // Nothing is known of the login yet.
            Look::NotConnected(_) | Look::Unanswered(_) => {}
            _ => self.gate.open(),
        }
    }
}

impl Provider for First<'_> {
    fn change(&mut self, within: Duration, is_elected: &dyn Fn() -> bool) -> Change {
        // Its answer may take minutes, so the others do not wait for it.
        self.gate.open();
        self.provider.change(within, is_elected)
    }

    fn look(&mut self, within: Duration) -> Look {
        let look = self.provider.look(within);
        self.judge(&look);
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

    fn steps(&self) -> u32 {
        self.provider.steps()
    }

    fn remark(&self) -> Option<Problem> {
        self.provider.remark()
    }

    fn has_refused_login(&self) -> bool {
        self.provider.has_refused_login()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takeover::tests::TEMPO;

    struct Answers {
        look: Option<Look>,
        refuses: bool,
    }

    impl Provider for Answers {
        fn change(&mut self, _: Duration, _: &dyn Fn() -> bool) -> Change {
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

        fn is_half_done(&self) -> bool {
            true
        }

        fn steps(&self) -> u32 {
            2
        }

        fn remark(&self) -> Option<Problem> {
            Some(Problem::new("blocked"))
        }

        fn has_refused_login(&self) -> bool {
            self.refuses
        }
    }

    #[test]
    fn the_first_is_as_its_provider_is() {
        let (look, refuses) = (None, true);
        let provider = &mut Answers { look, refuses };
        let gate = &Gate::default();
        let first = First { provider, gate };
        assert!(first.is_half_done() && first.has_refused_login());
        assert_eq!((first.requests(), first.steps()), (1, 2));
        assert_eq!(first.remark().unwrap().to_string(), "blocked");
    }

    /// Whether the gate lets the others begin, after this first look. `None`: they still wait.
    fn lets_begin(look: Look, refuses: bool) -> Option<bool> {
        let gate = Gate::default();
        let look = Some(look);
        let provider = &mut Answers { look, refuses };
        let mut first = First {
            provider,
            gate: &gate,
        };
        first.look(Duration::ZERO);
        let opened = gate.state().clone();
        match opened {
            State::Closed => None,
            State::Open => Some(true),
            State::Refused(_) => Some(false),
        }
    }

    #[test]
    fn only_a_refused_login_keeps_the_others_back() {
        let problem = || Problem::new("it is broken");
        assert_eq!(lets_begin(Look::Refused(problem()), true), Some(false));
        assert_eq!(lets_begin(Look::Refused(problem()), false), Some(true));
        assert_eq!(lets_begin(Look::Ours, false), Some(true));
        for unanswered in [Look::NotConnected, Look::Unanswered] {
            assert_eq!(lets_begin(unanswered(problem()), false), None);
        }
    }

    #[test]
    fn the_others_wait_until_the_gate_is_opened_and_not_forever() {
        let gate = Gate::default();
        assert!(gate.wait(Duration::ZERO).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait(Duration::from_secs(600)));
            gate.open();
            assert!(waiting.join().unwrap().is_none());
        });
    }
}
