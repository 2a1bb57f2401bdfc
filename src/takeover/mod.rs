//! The procedure of a takeover, over a [`Robot`] and a [`Clock`]; no I/O of its own.
//!
//! Post, and believe only what says that the failover IP is ours. Anything in doubt is
//! confirmed by asking where it is routed; what can succeed later is posted again, at most
//! five times, spread over the deadline, which nothing outlives.

mod pace;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::robot::{Problem, Robot, Route, Switch};
use pace::Pace;
pub use pace::{Bounds, Clock};

/// How many posts one takeover sends at most: the webservice allows 50 an hour.
const MAX_POSTS: u32 = 5;

/// How a takeover ended, for the log and for uWSGI.
#[derive(Debug)]
pub struct Report {
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
    /// How many requests were sent.
    pub requests: u32,
}

/// How a takeover ended.
#[derive(Debug)]
pub enum Outcome {
    /// The webservice said that the failover IP is routed to this server.
    Routed,
    /// The webservice took the request, and then could not be asked where the failover IP is.
    Unconfirmed(Problem),
    /// It is not routed to this server, as far as can be known.
    Failed(Failure),
}

/// Why a takeover failed.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("{0}")]
    Refused(Problem),
    #[error("{problem}{}", whereabouts(.seen))]
    RateLimited {
        problem: Problem,
        seen: Option<Seen>,
    },
    #[error("{reason}{} (the deadline of {} s has passed)", whereabouts(.seen), .deadline.as_secs())]
    OutOfTime {
        reason: String,
        seen: Option<Seen>,
        deadline: Duration,
    },
    #[error("{reason}{} ({MAX_POSTS} requests to route it were sent)", whereabouts(.seen))]
    OutOfPosts { reason: String, seen: Option<Seen> },
}

/// Where the webservice last said that the failover IP is, when it was not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    At(Option<IpAddr>),
    BeingSwitched,
}

/// What a confirm found out.
enum Confirmed {
    Ours,
    /// Elsewhere, and no switch running. `waited`: one was, and has ended.
    Elsewhere {
        waited: bool,
    },
    /// No answer to the question.
    Unknown,
    /// Somebody answered something else.
    Unusable(Problem),
    Refused(Problem),
    OutOfTime,
}

/// Takes the failover IP over, however long that takes within the bounds' deadline.
/// `say` gets a line for each retry, with its reason.
pub fn take_over(
    bounds: Bounds,
    robot: &mut dyn Robot,
    clock: &mut dyn Clock,
    say: &mut dyn FnMut(String),
) -> Report {
    let mut takeover = Takeover {
        robot,
        pace: Pace::new(bounds, clock),
        say,
        posts: 0,
        reason: String::new(),
        seen: None,
        accepted: None,
    };
    let outcome = takeover.run();
    Report {
        outcome,
        elapsed: takeover.pace.elapsed(),
        requests: takeover.robot.requests(),
    }
}

struct Takeover<'a> {
    robot: &'a mut dyn Robot,
    pace: Pace<'a>,
    say: &'a mut dyn FnMut(String),
    /// Posts that went out, or may have.
    posts: u32,
    /// The last reason why it is not done.
    reason: String,
    /// Where it was last seen, if not with us.
    seen: Option<Seen>,
    /// The last post was taken note of, and nothing has said since that it came to nothing.
    accepted: Option<Problem>,
}

impl Takeover<'_> {
    fn run(&mut self) -> Outcome {
        loop {
            let confirmed = match self.post() {
                Switch::Routed => return Outcome::Routed,
                Switch::Refused(problem) => return Outcome::Failed(Failure::Refused(problem)),
                Switch::NotConnected(problem) => {
                    self.reason = problem.to_string();
                    match self.wait_for_connection() {
                        true => continue,
                        false => return self.out_of_time(),
                    }
                }
                Switch::RateLimited(problem) => {
                    return match self.confirm(false) {
                        Confirmed::Ours => Outcome::Routed,
                        Confirmed::Refused(problem) => Outcome::Failed(Failure::Refused(problem)),
                        Confirmed::Elsewhere { .. }
                        | Confirmed::Unknown
                        | Confirmed::Unusable(_)
                        | Confirmed::OutOfTime => Outcome::Failed(Failure::RateLimited {
                            problem,
                            seen: self.seen,
                        }),
                    };
                }
                Switch::Accepted(problem) => {
                    self.reason = problem.to_string();
                    self.accepted = Some(problem);
                    self.confirm(self.posts == MAX_POSTS)
                }
                Switch::Elsewhere(active, problem) => {
                    self.reason = problem.to_string();
                    self.seen = Some(Seen::At(active));
                    self.confirm(self.posts == MAX_POSTS)
                }
                Switch::Unfinished(problem)
                | Switch::Locked(problem)
                | Switch::Conflict(problem)
                | Switch::Failing(problem)
                | Switch::Unanswered(problem) => {
                    self.reason = problem.to_string();
                    self.confirm(self.posts == MAX_POSTS)
                }
            };
            match confirmed {
                Confirmed::Ours => return Outcome::Routed,
                Confirmed::Refused(problem) => return Outcome::Failed(Failure::Refused(problem)),
                Confirmed::OutOfTime => return self.out_of_time(),
                Confirmed::Unusable(problem) if self.accepted.is_some() => {
                    return Outcome::Unconfirmed(problem);
                }
                Confirmed::Elsewhere { waited } => {
                    if !self.wait_for_post(waited) {
                        return self.given_up();
                    }
                }
                Confirmed::Unknown | Confirmed::Unusable(_) => {
                    if !self.wait_for_post(false) {
                        return self.given_up();
                    }
                }
            }
        }
    }

    fn post(&mut self) -> Switch {
        self.accepted = None;
        let answer = self.robot.switch(self.pace.post_time());
        match answer {
            Switch::NotConnected(_) => {}
            Switch::Routed
            | Switch::Accepted(_)
            | Switch::Elsewhere(..)
            | Switch::Unfinished(_)
            | Switch::Locked(_)
            | Switch::Conflict(_)
            | Switch::RateLimited(_)
            | Switch::Refused(_)
            | Switch::Failing(_)
            | Switch::Unanswered(_) => {
                self.pace.connected();
                self.seen = None;
                self.posts += 1;
            }
        }
        answer
    }

    /// Asks where the failover IP is, until that is known, or cannot be.
    /// `patient`: even if that is not answered at first.
    fn confirm(&mut self, patient: bool) -> Confirmed {
        let mut waited = false;
        self.pace.first_question();
        loop {
            let Some(within) = self.pace.get_time() else {
                return Confirmed::OutOfTime;
            };
            let answer = self.robot.route(within);
            match answer {
                Route::Ours => return Confirmed::Ours,
                Route::Refused(problem) => return Confirmed::Refused(problem),
                Route::Elsewhere(active) => {
                    self.seen = Some(Seen::At(active));
                    self.accepted = None;
                    return Confirmed::Elsewhere { waited };
                }
                Route::Processing => {
                    if !waited {
                        (self.say)("a switch is running; waiting for its end".into());
                    }
                    self.seen = Some(Seen::BeingSwitched);
                    waited = true;
                }
                Route::Unusable(problem) => return Confirmed::Unusable(problem),
                Route::Unanswered(problem) if self.accepted.is_some() => {
                    (self.say)(format!("taken note of, not yet confirmed: {problem}"));
                    self.accepted = Some(problem);
                }
                // With no post left, all that can still help is an answer.
                Route::Unanswered(_) if patient => {}
                Route::Unanswered(_) => return Confirmed::Unknown,
            }
            self.pace.wait_to_ask();
        }
    }

    /// Waits until a connection may be tried again; `false` if there is no time left for one.
    fn wait_for_connection(&mut self) -> bool {
        let Some(pause) = self.pace.connection_pause() else {
            return false;
        };
        let again = match pause < SHOWN {
            true => "trying again".into(),
            false => format!("trying again in {}", Seconds(pause)),
        };
        (self.say)(format!("{}; {again}", self.reason));
        self.pace.wait(pause);
        true
    }

    /// Waits until the next post is due; `false` if there is none, or no time left for one.
    fn wait_for_post(&mut self, at_once: bool) -> bool {
        let left = MAX_POSTS - self.posts;
        let Some(pause) = self.pace.post_pause(self.posts, left, at_once) else {
            return false;
        };
        (self.say)(format!(
            "{}{}; request {} of {MAX_POSTS} to route it follows in {}",
            self.reason,
            whereabouts(&self.seen),
            self.posts + 1,
            Seconds(pause)
        ));
        self.pace.wait(pause);
        true
    }

    fn given_up(&self) -> Outcome {
        match self.posts < MAX_POSTS {
            true => self.out_of_time(),
            false => Outcome::Failed(Failure::OutOfPosts {
                reason: self.reason.clone(),
                seen: self.seen,
            }),
        }
    }

    fn out_of_time(&self) -> Outcome {
        match (&self.accepted, self.seen) {
            (Some(problem), None) => Outcome::Unconfirmed(problem.clone()),
            (Some(_) | None, seen) => Outcome::Failed(Failure::OutOfTime {
                reason: self.reason.clone(),
                seen,
                deadline: self.pace.deadline(),
            }),
        }
    }
}

fn whereabouts(seen: &Option<Seen>) -> String {
    match seen {
        None => String::new(),
        Some(Seen::BeingSwitched) => "; a switch of it is running".into(),
        Some(Seen::At(None)) => "; it is routed to no server".into(),
        Some(Seen::At(Some(active))) => format!("; it is routed to {active}"),
    }
}

/// The shortest span that the log does not show as none.
const SHOWN: Duration = Duration::from_millis(50);

/// A span as the log shows it, in seconds.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
