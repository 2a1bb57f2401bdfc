//! A round's steps, from its seed.

mod service;

use std::time::Duration;

use fastrand::Rng;
use testbed::tcp_relay::State;
use testbed::uwsgi::Quality;

use crate::clock::SKEW_TOLERANCE;
use crate::fault::{Direction, Exit, Fault, RELOAD, Step};
use crate::service::Kind;
use crate::setup::Setup;

/// How long a round is in trouble. Then everything heals.
pub const TROUBLE: Duration = Duration::from_secs(60);

/// The largest step of a clock, in seconds, after which a node stays in its legion.
pub const MOST_TOLERATED: i64 = SKEW_TOLERANCE - 15;

/// What happens in a round. The same seed and number of nodes make the same plan.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub setup: Setup,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn from_seed(seed: u64, service: Kind, nodes: usize) -> Plan {
        let mut random = Rng::with_seed(seed);
        let mut later = Rng::with_seed(!seed);
        let mut setup = Setup::draw(service, nodes, &mut random, &mut later);
        let steps = Steps {
            random,
            later,
            service,
            nodes,
            health: setup.health,
            steps: Vec::new(),
        };
        let steps = steps.make();
        let is_moved = |step: &Step| matches!(step.fault, Fault::Moved { .. });
        setup.retake |= steps.iter().any(is_moved);
        Plan { seed, setup, steps }
    }
}

/// The steps so far.
struct Steps {
    random: Rng,
    /// For what only some kinds of service have.
    later: Rng,
    service: Kind,
    nodes: usize,
    health: bool,
    steps: Vec<Step>,
}

impl Steps {
    fn make(mut self) -> Vec<Step> {
        let mut at = millis(&mut self.random, 0, 3000);
        // So that the legion comes to rest in between.
        let is_calm = self.random.u8(0..3) == 0;
        while at < TROUBLE {
            match self.random.u8(0..5) {
                0 | 1 => self.election(at),
                _ => {
                    let (fault, lasts) = self.any();
                    self.add(at, lasts, fault);
                }
            }
            at += match self.random.u8(0..3) {
                _ if is_calm => millis(&mut self.random, 8000, 25_000),
                0 => millis(&mut self.random, 6000, 16_000),
                _ => millis(&mut self.random, 300, 6000),
            };
        }
        // Once at most, as a Lord takes an address back once in 10 minutes. Late, as each takeover takes
        // it back, and to the node that is Lord least often.
        if self.random.u8(0..3) == 0 {
            let at = millis(&mut self.random, 35_000, 59_000);
            let to = self.nodes - 1;
            self.add(at, Duration::ZERO, Fault::Moved { to });
        }
        if self.random.u8(0..3) == 0 {
            self.failing_return();
        }
        match self.service {
            Kind::Robot => {}
            Kind::Floating => self.troubles(),
            Kind::Alias => {
                self.troubles();
                self.edits();
            }
        }
        self.steps.sort_by_key(|step| step.at);
        self.steps
    }

    fn add(&mut self, at: Duration, lasts: Duration, fault: Fault) {
        if at < TROUBLE {
            let lasts = lasts.min(TROUBLE - at);
            self.steps.push(Step { at, lasts, fault });
        }
    }

    /// A node goes, and while others are elected, one of them is hit as well.
    fn election(&mut self, at: Duration) {
        let first = self.node();
        let second = (first + 1 + self.random.usize(0..self.nodes - 1)) % self.nodes;
        let (gone, away) = (self.absence(first), self.absence(second));
        let lasts = millis(&mut self.random, 5000, 14_000);
        self.add(at, lasts, gone);
        let later = at + millis(&mut self.random, 500, 8000);
        let lasts = self.span();
        self.add(later, lasts, away);
    }

    /// The best node comes back, and cannot take over. Late, as a later start would hide how it stands
    /// afterwards.
    fn failing_return(&mut self) {
        let node = 0;
        let at = millis(&mut self.random, 18_000, 28_000);
        let how = Exit::Killed;
        let gone = millis(&mut self.random, 6000, 9000);
        self.add(at, gone, Fault::Down { node, how });
        let fault = match self.random.bool() {
            true => Fault::WrongPassword { node },
            false => Fault::NoService {
                node,
                way: State::Refuse,
            },
        };
        // It gives up after 15 s without a connection.
        let lasts = gone + millis(&mut self.random, 24_000, 28_000);
        self.add(at, lasts, fault);
    }

    fn absence(&mut self, node: usize) -> Fault {
        match self.random.u8(0..6) {
            0 | 1 => Fault::Frozen { node },
            2 => Fault::Isolated { node },
            3 => Fault::Down {
                node,
                how: Exit::Stopped,
            },
            _ => Fault::Down {
                node,
                how: Exit::Killed,
            },
        }
    }

    fn any(&mut self) -> (Fault, Duration) {
        let node = self.node();
        let lasts = self.span();
        let fault = match self.random.u8(0..26) {
            0..6 => self.absence(node),
            6 | 7 => return (Fault::Reload { node }, RELOAD),
            8 | 9 => Fault::NoPeers {
                node,
                direction: Direction::Both,
            },
            10 => Fault::NoPeers {
                node,
                direction: Direction::Out,
            },
            11 => Fault::NoPeers {
                node,
                direction: Direction::In,
            },
            12 | 13 => Fault::NoService {
                node,
                way: State::Refuse,
            },
            14 => Fault::NoService {
                node,
                way: State::Stall,
            },
            15 => Fault::Poor {
                node: Some(node),
                quality: self.quality(),
            },
            16 => Fault::Poor {
                node: None,
                quality: self.quality(),
            },
            17..20 => Fault::Service(self.trouble()),
            20 | 21 => Fault::WrongPassword { node },
            22 => return (Fault::Reset { node }, Duration::ZERO),
            23 | 24 => Fault::Clock {
                node,
                seconds: self.clock_step(),
            },
            _ if self.health => Fault::Sick { node },
            _ => Fault::Isolated { node },
        };
        (fault, lasts)
    }

    /// Seconds forwards or back: fewer than its peers tolerate, or many more.
    fn clock_step(&mut self) -> i64 {
        let seconds = match self.random.bool() {
            true => self.random.i64(5..=MOST_TOLERATED),
            false => self.random.i64(SKEW_TOLERANCE + 15..=3600),
        };
        match self.random.bool() {
            true => seconds,
            false => -seconds,
        }
    }

    fn quality(&mut self) -> Quality {
        let delay = millis(&mut self.random, 0, 1500);
        Quality {
            loss: self.random.f64() * 0.5,
            duplication: self.random.f64() * 0.3,
            delay,
            jitter: millis(&mut self.random, 0, 1500),
        }
    }

    /// Those with the highest valors are hit most often.
    fn node(&mut self) -> usize {
        let one = self.random.usize(0..self.nodes);
        one.min(self.random.usize(0..self.nodes))
    }

    /// Shorter than `legion-tolerance`, about as long, or longer than every tolerance.
    fn span(&mut self) -> Duration {
        match self.random.u8(0..10) {
            0 | 1 => millis(&mut self.random, 300, 3000),
            2..6 => millis(&mut self.random, 3000, 9000),
            _ => millis(&mut self.random, 9000, 25_000),
        }
    }
}

pub fn millis(random: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.u64(least..=most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn a_seed_makes_the_same_plan_each_time() {
        for seed in 0..50 {
            for kind in Kind::ALL {
                let plan = |seed| Plan::from_seed(seed, kind, 3);
                assert_eq!(plan(seed).steps, plan(seed).steps);
                assert_ne!(plan(seed).steps, plan(seed + 1).steps);
            }
        }
    }

    #[test]
    fn everything_is_sound_in_the_end() {
        for seed in 0..200 {
            for kind in Kind::ALL {
                let plan = Plan::from_seed(seed, kind, 5);
                assert!(plan.steps.len() > 1, "{plan:?}");
                assert_eq!(World::at(5, &plan.steps, TROUBLE), World::sound(5));
            }
        }
    }
}
