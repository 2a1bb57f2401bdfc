//! Events for a person to follow.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::mock::Traffic;

/// Something worth a line; its `Display` is that line. It contains no password.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A request or a connection.
    Traffic(Traffic),
    /// A switch that takes some time has begun.
    Switching {
        /// The failover IP.
        ip: IpAddr,
        /// How long it takes.
        takes: Duration,
    },
    /// A failover IP has been routed to another server, or unrouted.
    Routed {
        /// The failover IP.
        ip: IpAddr,
        /// Its active server IP.
        to: Option<IpAddr>,
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
            Event::Switching { ip, takes } => {
                write!(f, "{ip} is being switched, {:.1} s", takes.as_secs_f64())
            }
            Event::Routed { ip, to: Some(to) } => write!(f, "{ip} is routed to {to}"),
            Event::Routed { ip, to: None } => write!(f, "{ip} is routed nowhere"),
        }
    }
}
