//! What can go wrong.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use testbed::tcp_relay::State;
use testbed::uwsgi::Quality;

use crate::trouble::Trouble;

/// A node is not counted on for this long after a reload.
pub const RELOAD: Duration = Duration::from_secs(3);

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// SIGKILL, for the whole process group.
    Killed,
    /// SIGINT, which announces the death.
    Stopped,
}

/// Which packets between a node and its peers are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Both,
    /// What the node sends.
    Out,
    /// What it is to receive.
    In,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    Down {
        node: usize,
        how: Exit,
    },
    /// SIGHUP.
    Reload {
        node: usize,
    },
    /// SIGSTOP, and SIGCONT at the end.
    Frozen {
        node: usize,
    },
    NoPeers {
        node: usize,
        direction: Direction,
    },
    /// The node does not reach the webservice.
    NoService {
        node: usize,
        way: State,
    },
    /// Neither its peers nor the webservice.
    Isolated {
        node: usize,
    },
    /// The packets of one node, or of all, pass badly.
    Poor {
        node: Option<usize>,
        quality: Quality,
    },
    Service(Trouble),
    /// The connections to the webservice are reset, and new ones pass.
    Reset {
        node: usize,
    },
    /// Its password or its token is wrong.
    WrongPassword {
        node: usize,
    },
    /// Its clock is so many seconds fast.
    Clock {
        node: usize,
        seconds: i64,
    },
    Sick {
        node: usize,
    },
    /// Somebody moves the address to this node's server.
    Moved {
        to: usize,
    },
    /// Somebody keeps changing the servers' other alias IPs.
    Edited,
}

impl Fault {
    /// One that hurts a node that is moving an address.
    pub fn while_moving(node: usize, random: &mut Rng) -> Fault {
        match random.u8(0..7) {
            0 | 1 => Fault::Frozen { node },
            2 => Fault::Isolated { node },
            3 => Fault::Down {
                node,
                how: Exit::Killed,
            },
            4 => Fault::NoPeers {
                node,
                direction: Direction::Both,
            },
            5 => Fault::NoService {
                node,
                way: State::Refuse,
            },
            _ => Fault::NoService {
                node,
                way: State::Stall,
            },
        }
    }

    /// Whether it may make the legion elect another Lord.
    pub fn is_absence(self) -> bool {
        matches!(
            self,
            Fault::Down { .. }
                | Fault::Frozen { .. }
                | Fault::NoPeers { .. }
                | Fault::Isolated { .. }
        )
    }
}

/// A fault, and when it is there. Times are from the first Lord on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub at: Duration,
    pub lasts: Duration,
    pub fault: Fault,
}

impl Step {
    pub fn is_active(&self, now: Duration) -> bool {
        self.at <= now && now < self.at + self.lasts
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.at.as_secs_f64(), (self.at + self.lasts).as_secs_f64());
        write!(f, "{from:6.2} s to {until:6.2} s: {:?}", self.fault)
    }
}
