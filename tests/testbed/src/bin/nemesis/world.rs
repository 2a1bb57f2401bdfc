//! What the world looks like while something is wrong.

use std::time::Duration;

use testbed::tcp_relay::State;
use testbed::uwsgi::Quality;

use crate::clock::SKEW_TOLERANCE;
use crate::fault::{Direction, Exit, Fault, Step};
use crate::trouble::Trouble;

/// One node's part of the world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    pub down: Option<Exit>,
    pub reloads: bool,
    pub frozen: bool,
    /// Its peers do not receive what it sends.
    pub mute: bool,
    /// It does not receive what its peers send.
    pub deaf: bool,
    pub quality: Quality,
    pub way: State,
    pub wrong_password: bool,
    /// How fast its clock is, in seconds.
    pub clock: i64,
    pub sick: bool,
}

/// How everything is at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub nodes: Vec<Condition>,
    pub service: Option<Trouble>,
    /// Somebody keeps changing the servers' other alias IPs.
    pub edited: bool,
}

impl World {
    /// Without any fault.
    pub fn sound(nodes: usize) -> World {
        let sound = Condition {
            down: None,
            reloads: false,
            frozen: false,
            mute: false,
            deaf: false,
            quality: Quality::default(),
            way: State::Open,
            wrong_password: false,
            clock: 0,
            sick: false,
        };
        World {
            nodes: vec![sound; nodes],
            service: None,
            edited: false,
        }
    }

    /// As the steps have it at that time.
    pub fn at(nodes: usize, steps: &[Step], now: Duration) -> World {
        let mut world = World::sound(nodes);
        for step in steps.iter().filter(|step| step.is_active(now)) {
            world.suffer(step.fault);
        }
        world
    }

    fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Down { node, how } => self.nodes[node].down = Some(how),
            Fault::Reload { node } => self.nodes[node].reloads = true,
            Fault::Frozen { node } => self.nodes[node].frozen = true,
            Fault::NoPeers { node, direction } => {
                self.nodes[node].mute |= direction != Direction::In;
                self.nodes[node].deaf |= direction != Direction::Out;
            }
            Fault::NoService { node, way } => self.nodes[node].way = way,
            Fault::Isolated { node } => {
                let node = &mut self.nodes[node];
                (node.mute, node.deaf, node.way) = (true, true, State::Refuse);
            }
            Fault::Poor {
                node: Some(node),
                quality,
            } => self.nodes[node].quality = quality,
            Fault::Poor {
                node: None,
                quality,
            } => {
                for node in &mut self.nodes {
                    node.quality = quality;
                }
            }
            Fault::Service(trouble) => self.service = Some(trouble),
            Fault::Edited => self.edited = true,
            Fault::WrongPassword { node } => self.nodes[node].wrong_password = true,
            Fault::Sick { node } => self.nodes[node].sick = true,
            Fault::Clock { node, seconds } => self.nodes[node].clock = seconds,
            Fault::Reset { .. } | Fault::Moved { .. } => {}
        }
    }

    /// Whether packets pass from one node to another.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        !self.nodes[from].mute && !self.nodes[to].deaf
    }

    /// How they pass.
    pub fn quality(&self, from: usize, to: usize) -> Quality {
        let (from, to) = (self.nodes[from].quality, self.nodes[to].quality);
        match from == Quality::default() {
            true => to,
            false => from,
        }
    }
}

impl Condition {
    /// Its peers hear nothing of it.
    pub fn is_silent(&self) -> bool {
        // Its peers refuse what seems old to them.
        self.down.is_some() || self.frozen || self.mute || self.clock <= -SKEW_TOLERANCE
    }

    /// It votes, and knows the others' votes.
    pub fn is_connected(&self) -> bool {
        let hears = !self.deaf && self.clock < SKEW_TOLERANCE;
        !self.is_silent() && hears && !self.reloads && self.quality == Quality::default()
    }

    /// It can take over.
    pub fn is_able(&self) -> bool {
        self.is_connected() && self.way == State::Open && !self.wrong_password && !self.sick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_follows_from_the_steps() {
        let second = Duration::from_secs;
        let steps = [
            Step {
                at: second(1),
                lasts: second(4),
                fault: Fault::Isolated { node: 0 },
            },
            Step {
                at: second(3),
                lasts: second(4),
                fault: Fault::Frozen { node: 1 },
            },
        ];
        let able = |at| -> Vec<bool> {
            let world = World::at(3, &steps, second(at));
            world.nodes.iter().map(Condition::is_able).collect()
        };
        assert_eq!(able(0), [true, true, true]);
        assert_eq!(able(1), [false, true, true]);
        assert_eq!(able(4), [false, false, true]);
        assert_eq!(able(5), [true, false, true]);
        assert_eq!(World::at(3, &steps, second(7)), World::sound(3));
        let world = World::at(3, &steps, second(1));
        assert!(!world.is_open(0, 1) && !world.is_open(1, 0) && world.is_open(1, 2));
    }

    #[test]
    fn a_clock_that_is_far_off_makes_a_node_silent_or_deaf() {
        for (clock, is_silent, is_connected) in [
            (0, false, true),
            (45, false, true),
            (-45, false, true),
            (75, false, false),
            (-75, true, false),
        ] {
            let mut node = World::sound(1).nodes[0];
            node.clock = clock;
            let seen = (node.is_silent(), node.is_connected());
            assert_eq!(seen, (is_silent, is_connected), "{clock}");
        }
    }
}
