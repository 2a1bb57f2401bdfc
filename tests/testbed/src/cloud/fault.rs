//! The faults that only the API has.

use std::time::Duration;

use super::errors;
use crate::mock;

/// A fault: see [`mock::Fault`]. What takes its time is an action; a [`Quirk`] and a
/// [`Refusal`](super::Refusal) become one with `into`.
pub type Fault = mock::Fault<Quirk>;

/// A fault of the API behind a correct answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quirk {
    /// The action that the request begins ends in error, and nothing has changed.
    ActionFails {
        /// The error's code.
        code: String,
        /// The error's message.
        message: String,
    },
    /// The same, although the change was made.
    ActionFailsApplied {
        /// The error's code.
        code: String,
        /// The error's message.
        message: String,
    },
    /// The action succeeds, and nothing has changed.
    ActionWithoutEffect,
    /// The action takes this long.
    ActionTakes(Duration),
    /// The action succeeds, and for this long afterwards reads show the old state.
    StaleReads(Duration),
    /// This read shows every address at this server, or at none.
    BadRead(Option<u64>),
}

impl From<Quirk> for Fault {
    fn from(quirk: Quirk) -> Fault {
        Fault::Quirk(quirk)
    }
}

impl Fault {
    /// An error of the API: `{"error":{"code":..,"message":..}}`.
    pub fn error(status: u16, code: &str, message: &str) -> Fault {
        errors::error(status, code, message, None).into()
    }

    /// The action that the request begins ends in error, and nothing has changed.
    pub fn action_fails() -> Fault {
        Fault::Quirk(Quirk::ActionFails {
            code: "action_failed".to_owned(),
            message: "Action failed".to_owned(),
        })
    }

    /// The same, although the change was made.
    pub fn action_fails_applied() -> Fault {
        Fault::Quirk(Quirk::ActionFailsApplied {
            code: "action_failed".to_owned(),
            message: "Action failed".to_owned(),
        })
    }

    /// `InvalidInput`, because of one field.
    pub fn invalid_input(field: &str, message: &str) -> Fault {
        errors::invalid_input(field, message).into()
    }
}
