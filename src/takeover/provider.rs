//! A takeover's interface to a provider: its requests, and what the answers can mean.

use std::time::Duration;

use super::Problem;

/// A webservice that can route one address to this server.
pub trait Provider {
    /// Requests that the address be routed to this server, and waits for the answer for at most
    /// `within`.
    fn change(&mut self, within: Duration) -> Change;

    /// Queries where the address is routed, and waits for the answer for at most `within`.
    fn look(&mut self, within: Duration) -> Look;

    /// How many requests have been sent so far, or may have been.
    fn requests(&self) -> u32;
}

/// What the answer to a change means.
#[derive(Debug)]
pub enum Change {
    /// The address is routed to this server.
    Done,
    /// A change is running, ours or another, or may be: the answer says so, or was lost.
    Running(Problem),
    /// The endpoint accepted the change, and is one that may have no way to confirm it.
    Accepted(Problem),
    /// The change did not happen, as far as is known, and may succeed later.
    Failing(Problem),
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
    /// No usable answer this time.
    Unanswered(Problem),
    /// No connection was made, so no look was sent.
    NotConnected(Problem),
    /// The endpoint does not support this request.
    Unsupported(Problem),
    /// Refused. Retrying does not help until somebody has fixed something, and may do harm.
    Refused(Problem),
}
