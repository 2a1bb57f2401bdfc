//! Events for a person to follow.

use std::fmt;
use std::net::IpAddr;

use super::actions::{Action, Status};
use crate::mock::Traffic;

/// Something worth a line; its `Display` is that line. It contains no token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A request or a connection.
    Traffic(Traffic),
    /// An action has begun or ended.
    Action(Action),
    /// A Floating IP or an alias IP is at another server, or at none.
    Moved {
        /// The address.
        ip: IpAddr,
        /// Its server.
        to: Option<u64>,
    },
}

impl From<Traffic> for Event {
    fn from(traffic: Traffic) -> Event {
        Event::Traffic(traffic)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Traffic(traffic) => traffic.fmt(f),
            Event::Action(action) => {
                write!(f, "action {} {}: ", action.id, action.command)?;
                match (action.status, &action.error) {
                    (Status::Running, _) => write!(f, "running"),
                    (Status::Success, _) => write!(f, "success"),
                    (Status::Error, None) => write!(f, "error"),
                    (Status::Error, Some((code, _))) => write!(f, "error {code}"),
                }
            }
            Event::Moved { ip, to: Some(to) } => write!(f, "{ip} is at server {to}"),
            Event::Moved { ip, to: None } => write!(f, "{ip} is at no server"),
        }
    }
}
