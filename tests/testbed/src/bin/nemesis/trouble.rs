//! What can be wrong with the webservice.

use std::time::Duration;

use fastrand::Rng;

use crate::plan::millis;
use crate::service::Kind;

/// Trouble of the webservice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody else is switching the addresses: they are locked, or the servers of alias IPs are.
    Locked,
    /// The Cloud: a node's server is locked.
    ServerLocked { node: usize },
    /// Changes take this long.
    Slow(Duration),
    /// Changes are made, and not answered.
    Unanswered,
    /// The Cloud: they are made, and answered with a 504.
    TimedOut,
    /// The Robot: they are answered at once, still with the old server.
    Early,
    /// 503 for everything.
    Unavailable,
    /// Too many requests: the Robot refuses changes, the Cloud everything.
    RateLimited,
    /// The Cloud: none is left, and one is regained each second.
    Drained,
    /// The Cloud: actions end in error, although the change was made if `applied`.
    Failing { applied: bool },
    /// The Cloud: actions succeed and change nothing.
    WithoutEffect,
    /// The Cloud: reads show what an action has changed so much later.
    Stale(Duration),
    /// The Cloud: reads of a Floating IP show it at no server.
    Misread,
    /// The Cloud: an alias IP that was taken off a server is not available for so long.
    Unreleased(Duration),
}

impl Trouble {
    /// One of the Robot's.
    pub fn of_robot(random: &mut Rng) -> Trouble {
        match random.u8(0..6) {
            0 => Trouble::Locked,
            1 => Trouble::Slow(millis(random, 4000, 30_000)),
            2 => Trouble::Unanswered,
            3 => Trouble::Early,
            4 => Trouble::Unavailable,
            _ => Trouble::RateLimited,
        }
    }

    /// One of the Cloud's.
    pub fn of_cloud(service: Kind, nodes: usize, random: &mut Rng) -> Trouble {
        let node = random.usize(0..nodes);
        match random.u8(0..14) {
            0 => Trouble::Locked,
            1 | 2 => Trouble::ServerLocked { node },
            3 => Trouble::Slow(millis(random, 4000, 30_000)),
            4 => Trouble::Unanswered,
            5 => Trouble::TimedOut,
            6 => Trouble::Unavailable,
            7 => Trouble::RateLimited,
            8 => Trouble::Drained,
            9 | 10 => Trouble::Failing {
                applied: random.bool(),
            },
            11 => Trouble::WithoutEffect,
            12 => Trouble::Stale(millis(random, 500, 8000)),
            _ if service == Kind::Floating => Trouble::Misread,
            _ => Trouble::Unreleased(millis(random, 3000, 15_000)),
        }
    }
}
