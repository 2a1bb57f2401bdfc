//! What an answer of the webservice can mean to a takeover.

use std::net::IpAddr;

use super::problem::Problem;

/// What the answer to a `POST` means for the takeover.
#[derive(Debug)]
pub enum Switch {
    /// The failover IP is routed to our server.
    Routed,
    /// Taken note of, but the answer does not say where the failover IP is now.
    Accepted(Problem),
    /// The answer says that the failover IP is routed to another server, or to none.
    Elsewhere(Option<IpAddr>, Problem),
    /// The answer says that the failover IP is on its way.
    Unfinished(Problem),
    /// Another switch is running.
    Locked(Problem),
    /// Some other conflict.
    Conflict(Problem),
    /// Too many requests in the last hour.
    RateLimited(Problem),
    /// No, and asking again would not help, or harm.
    Refused(Problem),
    /// The webservice is in trouble (5xx).
    Failing(Problem),
    /// No connection was made, so nothing was asked.
    NotConnected(Problem),
    /// The request went out, and no whole answer came: the switch may have happened.
    Unanswered(Problem),
}

/// What the answer to a `GET` says.
#[derive(Debug)]
pub enum Route {
    /// The failover IP is routed to our server, and no switch is running.
    Ours,
    /// A switch is running.
    Processing,
    /// The failover IP is routed to another server, or to none, and no switch is running.
    Elsewhere(Option<IpAddr>),
    /// No, and asking again would not help, or harm.
    Refused(Problem),
    /// Nobody answered; asked again, somebody may.
    Unanswered(Problem),
    /// Somebody answered, but not the question: this url knows no `GET`.
    Unusable(Problem),
}
