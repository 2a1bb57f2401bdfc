//! The settings of a round, from its seed.

use std::net::IpAddr;
use std::time::Duration;

use fastrand::Rng;

use crate::plan::millis;
use crate::service::{Kind, alias, floating, robot};

/// The settings of a round.
#[derive(Debug, Clone)]
pub struct Setup {
    pub service: Kind,
    pub nodes: usize,
    /// One or two.
    pub addresses: Vec<IpAddr>,
    /// One action has all of them, otherwise each has an action of its own.
    pub is_together: bool,
    /// How long a switch or an action takes.
    pub switch_time: Duration,
    /// The keys of the same name, in seconds.
    pub timeout: u64,
    pub deadline: u64,
    /// `legion-death-on-lord-error`, in seconds.
    pub suspension: u64,
    pub nopreempt: bool,
    /// With `hetzner-health`.
    pub health: bool,
    /// `watch_action=retake`. Otherwise a Lord must not need it, as nobody but the legion moves the addresses.
    pub retake: bool,
    /// The Cloud: servers and Networks are given by their names, not by their ids.
    pub by_name: bool,
    /// The Cloud: how long an alias IP that was taken off a server is not available.
    pub release_time: Duration,
}

impl Setup {
    /// The first random numbers are the same for every kind, and for all versions of this program: a seed
    /// stands for a certain round of the Robot. What came later draws from `later`.
    pub fn draw(service: Kind, nodes: usize, random: &mut Rng, later: &mut Rng) -> Setup {
        let robot_times = random.choice([(10, 45), (10, 45), (60, 300)]);
        let number = random.choice([1, 1, 2]).expect("one");
        let switch_time = millis(random, 100, 3000);
        let suspension = random.choice([30, 300]).expect("one");
        let nopreempt = random.u8(0..4) == 0;
        let health = random.u8(0..3) == 0;
        // The Cloud's are the defaults, most often.
        let cloud_times = later.choice([(10, 120), (10, 120), (5, 60)]);
        let is_together = later.bool();
        let addresses = match service {
            Kind::Robot => robot::addresses(number, is_together, later),
            Kind::Floating => floating::addresses(number, later),
            Kind::Alias => alias::addresses(number),
        };
        let (timeout, deadline) = match service {
            Kind::Robot => robot_times.expect("one"),
            Kind::Floating | Kind::Alias => cloud_times.expect("one"),
        };
        Setup {
            service,
            nodes,
            is_together: is_together && addresses.len() > 1,
            addresses,
            switch_time,
            timeout,
            deadline,
            suspension,
            nopreempt,
            health,
            by_name: later.bool(),
            release_time: match later.bool() {
                true => millis(later, 0, 5000),
                false => Duration::ZERO,
            },
            retake: later.bool(),
        }
    }

    /// The key of that name.
    pub fn watch_action(&self) -> &'static str {
        match self.retake {
            true => "retake",
            false => "warn",
        }
    }
}
