//! A takeover's interface to a provider: its requests, what the answers can mean, and how fast it
//! goes.

use std::time::Duration;

use super::Problem;

/// A webservice that can route one address to this server.
pub trait Provider {
    /// Requests that the address be routed to this server, and waits for the answer for at most
    /// `within`. Where that takes several steps, it requests the next one. One that reads before asks right
    /// before its request whether this node still `is_elected`.
    fn change(&mut self, within: Duration, is_elected: &dyn Fn() -> bool) -> Change;

    /// Queries where the address is routed, and waits for the answer for at most `within`.
    fn look(&mut self, within: Duration) -> Look;

    /// How many requests have been sent so far, or may have been.
    fn requests(&self) -> u32;

    /// How fast it goes.
    fn tempo(&self) -> &'static Tempo;

    /// Whether the address was taken off its old server and is on no other one yet, so that only
    /// going on helps.
    fn is_half_done(&self) -> bool {
        false
    }

    /// How many changes are needed without trouble, as far as is known.
    fn steps(&self) -> u32 {
        1
    }

    /// What somebody has to know of the address even if it is here, as a sentence.
    fn remark(&self) -> Option<Problem> {
        None
    }

    /// Whether the last answer was that the login is wrong, which must not be tried too often.
    fn has_refused_login(&self) -> bool {
        false
    }
}

/// How a takeover is spread over its deadline: what suits a provider whose changes take so long and
/// whose requests are so few.
#[derive(Debug)]
pub struct Tempo {
    /// How many changes one takeover sends at most.
    pub changes: u32,
    /// How many requests a change or a look may consist of.
    pub requests: u32,
    /// Look before the first change, always.
    pub looks_first: bool,
    /// The first wait between two looks while a change is running.
    pub first_wait: Duration,
    /// How much longer each further wait is, in tenths.
    pub growth: u32,
    /// The longest wait between two looks while a change is running.
    pub longest_wait: Duration,
    /// The same once a takeover takes longer than two minutes.
    pub later_wait: Duration,
    /// The longest wait between two looks that get no answer.
    pub longest_probe_wait: Duration,
    /// The same once a maintenance takes longer than two minutes.
    pub later_probe_wait: Duration,
    /// The wait between them in a takeover that follows a failed one.
    pub cautious_probe_wait: Duration,
    /// The wait before a change that can follow soon.
    pub soon: Duration,
    /// While a change may be running, the next is sent this long after the last at the earliest: after
    /// the first, and after the second.
    pub change_gaps: [Duration; 2],
    /// The shortest gap after those.
    pub later_change_gap: Duration,
}

/// How long a change that another node began may still be running, so that it moves the address after a
/// takeover or an event in the legion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LateChanges {
    /// Most have ended after this time, and others after as long again.
    pub usual: Duration,
    /// All have.
    pub longest: Duration,
    /// A takeover may succeed while one is running.
    pub are_hidden: bool,
}

/// What the answer to a change means.
#[derive(Debug)]
pub enum Change {
    /// The address is routed to this server.
    Done,
    /// The same, and it was so already: no change was requested.
    Found,
    /// A change is running, ours or another, or may be: the answer says so, or was lost.
    Running(Problem),
    /// The endpoint accepted the change, and is one that may have no way to confirm it.
    Accepted(Problem),
    /// The change did not happen, as far as is known, and may succeed later.
    Failing(Problem),
    /// The change was not requested, because this node is no longer elected.
    Outdated,
    /// The change was not requested, or not accepted, because something else has to end or be known
    /// before. It may succeed soon, and does not count as a change.
    Unready(Problem),
    /// Too many requests, or this server's address is blocked for a while.
    Limited(Problem),
    /// Refused. Retrying does not help until somebody has fixed something, and may do harm.
    Refused(Problem),
    /// No connection was made, so no change was requested.
    NotConnected(Problem),
}

/// What the answer to a look means.
#[derive(Debug)]
pub enum Look {
    /// The address is routed to this server, and no change is running.
    Ours,
    /// A change is running.
    Changing,
    /// The address is routed elsewhere.
    Elsewhere {
        /// The server it is routed to; `None` if it is routed to no server.
        to: Option<String>,
        /// The provider reports that no change is running. If `false`, one may be.
        settled: bool,
    },
    /// A step of the change is done, and the next one can follow at once.
    HalfDone,
    /// The change that was running has ended without success.
    Failed(Problem),
    /// No usable answer this time.
    Unanswered(Problem),
    /// No connection was made, so no look was sent.
    NotConnected(Problem),
    /// The endpoint does not support this request.
    Unsupported(Problem),
    /// Refused. Retrying does not help until somebody has fixed something, and may do harm.
    Refused(Problem),
}
