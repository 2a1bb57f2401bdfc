//! The Hetzner Cloud API: Floating IPs and alias IPs of a project.
//!
//! A change is answered at once with an action, which runs for a few seconds; what it was about is read
//! before and after. Source of paths, objects and codes: <https://docs.hetzner.cloud/reference/cloud>.

mod alias;
mod answer;
mod api;
mod floating;
mod network;
mod problem;
mod queue;
mod server;
mod survey;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::takeover::{LateChanges, Limits, Tempo};

pub use alias::Alias;
pub use answer::Kind;
pub use api::ApiFailure;
pub use floating::Floating;
use queue::Queue;
use server::Metadata;
pub use survey::{AddressFound, Resource, ServerFound, Survey, survey};

/// Hetzner allows 3600 requests an hour for a project, which are shared with everything else that uses
/// its tokens.
pub const LIMITS: Limits = Limits {
    changes: 600,
    looks: 3000,
    quick_looks: 3000,
};

/// An action takes a few seconds, and an alias IP needs two. Hetzner's own client looks every 500 ms.
pub const TEMPO: Tempo = Tempo {
    changes: 20,
    requests: 8,
    looks_first: true,
    first_wait: Duration::from_millis(500),
    growth: 1,
    longest_wait: Duration::from_secs(2),
    later_wait: Duration::from_secs(2),
    longest_probe_wait: Duration::from_secs(5),
    later_probe_wait: Duration::from_secs(5),
    cautious_probe_wait: Duration::from_secs(5),
    soon: Duration::from_secs(2),
    change_gaps: [Duration::from_secs(5), Duration::from_secs(5)],
    later_change_gap: Duration::from_secs(5),
};

/// An action takes a few seconds, rarely much longer. While it runs, reads show the address at its old
/// server, which may be this one: then a takeover has nothing to change, and succeeds.
pub const LATE_CHANGES: LateChanges = LateChanges {
    usual: Duration::from_secs(20),
    longest: Duration::from_secs(120),
    are_hidden: true,
};

/// What the takeovers of a process share with each other.
#[derive(Debug, Default)]
pub struct Shared {
    metadata: Arc<Metadata>,
    /// Of the alias IPs that are being moved.
    aliases: Arc<Queue>,
}
