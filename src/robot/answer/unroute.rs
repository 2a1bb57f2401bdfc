//! What the answers mean when the failover IP is to be routed to no server.

use super::{Answer, Failover, Reader, State};
use crate::robot::problem::RobotProblem;
use crate::takeover::{Change, Look, Problem};

impl Reader<'_> {
    /// What the answer to a `DELETE` means.
    pub fn unrouting(&self, answer: &Answer) -> Change {
        match (answer.status, self.failover(answer)) {
            (
                200..=299,
                Ok(Failover {
                    active: None,
                    state,
                }),
            ) if state != State::Processing => Change::Done,
            (200..=299, Ok(_)) => {
                Change::Running(Problem::new(RobotProblem::Unfinished(answer.status)))
            }
            _ => self.change(answer),
        }
    }

    /// What a `GET` says of it.
    pub fn look_unrouted(&self, answer: &Answer) -> Look {
        match (answer.status, self.failover(answer)) {
            (200..=299, Ok(Failover { active, state })) => match (active, state) {
                (_, State::Processing) => Look::Changing,
                (None, _) => Look::Ours,
                (Some(server), state) => Look::Elsewhere {
                    to: Some(server.to_string()),
                    settled: state == State::Ready,
                },
            },
            _ => self.look(answer),
        }
    }
}
