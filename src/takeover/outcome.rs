//! How a takeover ended, and the sentence that a failure has in the log.

use std::time::Duration;

use thiserror::Error;

use super::Problem;

/// The end of a takeover, for the log and for uWSGI.
#[derive(Debug)]
pub struct Report {
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
    /// How many requests were sent.
    pub requests: u32,
    /// How many of them asked for the change.
    pub changes: u32,
    /// How many changes it would have taken without trouble.
    pub steps: u32,
}

impl Report {
    /// How many changes were requested again.
    pub fn retries(&self) -> u32 {
        self.changes.saturating_sub(self.steps)
    }
}

/// How a takeover ended.
#[derive(Debug)]
pub enum Outcome {
    /// The provider has reported that the address is routed to this server.
    Routed,
    /// The provider accepted the change, but cannot report where the address is routed.
    Unconfirmed(Problem),
    /// The address is not routed to this server, as far as is known.
    Failed(Failure),
    /// The election that this takeover followed is out of date. No change was sent afterwards.
    Outdated,
}

/// Why a takeover failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// Retrying does not help until somebody has fixed something.
    #[error("{0}")]
    Refused(Problem),
    #[error("{problem}{}", whereabouts(.seen))]
    Limited {
        problem: Problem,
        seen: Option<Seen>,
    },
    /// Another node may have a connection.
    #[error("{problem} (no connection for {} s)", .after.as_secs())]
    NoConnection { problem: Problem, after: Duration },
    #[error("{reason}{} (the deadline of {} s has passed)", whereabouts(.seen), .deadline.as_secs())]
    OutOfTime {
        reason: String,
        seen: Option<Seen>,
        deadline: Duration,
    },
}

impl Failure {
    /// Whether retrying is pointless until somebody has fixed something.
    pub fn is_for_good(&self) -> bool {
        match self {
            Failure::Refused(_) => true,
            Failure::Limited { .. } | Failure::NoConnection { .. } | Failure::OutOfTime { .. } => {
                false
            }
        }
    }
}

/// Where the provider last reported the address, when that was not this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Routed to the named server, or to none.
    At(Option<String>),
    /// A change was running.
    BeingChanged,
}

/// What follows a reason in the log: where the address was last seen.
pub fn whereabouts(seen: &Option<Seen>) -> String {
    match seen {
        None => String::new(),
        Some(Seen::BeingChanged) => "; a switch is running".into(),
        Some(Seen::At(None)) => "; it is routed to no server".into(),
        Some(Seen::At(Some(server))) => format!("; it is routed to {server}"),
    }
}
