//! What the answers mean when the failover IP is to be routed to no server.

use super::{Answer, Failover, Reader, State};
use crate::provider::robot::problem::RobotProblem;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_server_is_the_goal() {
        let reader = Reader {
            failover_ip: "4.4.4.4".parse().unwrap(),
            ours: "1.1.1.1".parse().unwrap(),
            is_custom: false,
            sent_from: None,
            secrets: &[],
        };
        for (active, state, is_done, look) in [
            ("null", "ready", true, "Ours"),
            ("null", "processing", false, "Changing"),
            ("\"1.1.1.1\"", "ready", false, "Elsewhere"),
            ("\"2.2.2.2\"", "processing", false, "Changing"),
        ] {
            let body = format!(
                "{{\"failover\":{{\"active_server_ip\":{active},\"status\":\"{state}\"}}}}"
            );
            let answer = Answer {
                status: 200,
                location: None,
                body: body.as_bytes(),
            };
            let change = reader.unrouting(&answer);
            assert_eq!(matches!(change, Change::Done), is_done, "{body}");
            let found = format!("{:?}", reader.look_unrouted(&answer));
            assert!(found.starts_with(look), "{body}: {found}");
        }
    }

    #[test]
    fn refusals_are_those_of_a_switch() {
        let reader = Reader {
            failover_ip: "4.4.4.4".parse().unwrap(),
            ours: "1.1.1.1".parse().unwrap(),
            is_custom: false,
            sent_from: None,
            secrets: &[],
        };
        let answer = |status| Answer {
            status,
            location: None,
            body: b"",
        };
        assert!(matches!(reader.unrouting(&answer(401)), Change::Refused(_)));
        assert!(matches!(reader.unrouting(&answer(503)), Change::Failing(_)));
        assert!(matches!(
            reader.look_unrouted(&answer(401)),
            Look::Refused(_)
        ));
    }
}
