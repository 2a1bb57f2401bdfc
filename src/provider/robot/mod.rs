//! The Robot webservice: `POST`, `GET` and `DELETE` on a failover IP, and what their answers mean.
//!
//! Source of the codes and texts: the webservice's documentation, "Failover" and "Errors".

pub mod answer;
mod client;
mod problem;
mod survey;
mod unroute;

use std::time::Duration;

use crate::takeover::{LateChanges, Limits, Tempo};

pub use answer::survey::{Access, FailoverFound, Server};
pub use client::Client;
pub use survey::{Exchange, ask_failover, ask_servers};
pub use unroute::Unroute;

/// Hetzner allows 50 `POST` and 100 `GET` requests an hour.
pub const LIMITS: Limits = Limits {
    changes: 48,
    looks: 90,
    quick_looks: 60,
};

/// A switch takes 40 to 110 s, and its requests are few.
pub const TEMPO: Tempo = Tempo {
    changes: 5,
    requests: 1,
    looks_first: false,
    first_wait: Duration::from_secs(2),
    growth: 5,
    longest_wait: Duration::from_secs(5),
    // So that the looks of an hour last until the default deadline.
    later_wait: Duration::from_secs(10),
    longest_probe_wait: Duration::from_secs(15),
    later_probe_wait: Duration::from_secs(45),
    // Other nodes try in turn, and all of them share the requests per hour.
    cautious_probe_wait: Duration::from_secs(54),
    soon: Duration::from_secs(2),
    // By then most switches have ended, and later changes wait longer.
    change_gaps: [Duration::from_secs(45), Duration::from_secs(60)],
    later_change_gap: Duration::from_secs(75),
};

/// A switch takes 110 s at most. A takeover does not succeed meanwhile, because its `POST` is refused.
pub const LATE_CHANGES: LateChanges = LateChanges {
    usual: Duration::from_secs(120),
    longest: Duration::from_secs(120),
    are_hidden: false,
};
