//! What a status and a body mean: the table of a takeover's answers.

pub mod survey;
#[cfg(test)]
mod tests;
mod unroute;

use std::net::IpAddr;

use serde_json::Value;

use super::problem::RobotProblem;
use crate::provider::is_same_network;
use crate::provider::problem::{ApiError, Redirect};
use crate::takeover::{Change, Look, Problem};
use crate::text;

/// The code of a refusal because of the number of requests.
const RATE_LIMIT: &str = "RATE_LIMIT_EXCEEDED";

/// An answer that came in whole.
pub struct Answer<'a> {
    pub status: u16,
    /// The `Location` header.
    pub location: Option<&'a str>,
    pub body: &'a [u8],
}

/// Reads answers for one takeover.
pub struct Reader<'a> {
    /// The failover IP.
    pub failover_ip: IpAddr,
    /// The server that is to receive it.
    pub ours: IpAddr,
    /// The endpoint is not Hetzner's own: it may have no `GET`, and nothing else to confirm a
    /// change by.
    pub is_custom: bool,
    /// The address that the request was sent from, where that matters.
    pub sent_from: Option<IpAddr>,
    /// What must not be shown, even if the server sends it back.
    pub secrets: &'a [&'a [u8]],
}

/// A readable failover object. Source: `GET /failover/{ip}`.
struct Failover {
    /// The server it is routed to; `None` if it is routed to no server.
    active: Option<IpAddr>,
    state: State,
}

/// What `status` says. It is not documented, and may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Processing,
    Unknown,
}

impl Reader<'_> {
    /// What the answer to a `POST` means.
    pub fn change(&self, answer: &Answer) -> Change {
        let code = self.code(answer);
        match (answer.status, code.as_deref()) {
            (_, Some("FAILOVER_ALREADY_ROUTED")) => Change::Done,
            (300..=399, _) => refused(self.redirect(answer)),
            (401, _) => refused(self.login()),
            (200..=299, _) => self.success(answer),
            (409, Some("FAILOVER_LOCKED")) => Change::Running(self.status(answer)),
            (409, None) if self.is_custom => Change::Accepted(self.status(answer)),
            (409, _) => Change::Failing(self.status(answer)),
            (400..=499, _) => match self.limited(answer) {
                Some(problem) => Change::Limited(Problem::new(problem)),
                None => Change::Refused(self.status(answer)),
            },
            _ => Change::Failing(self.status(answer)),
        }
    }

    /// What the answer to a `GET` says.
    pub fn look(&self, answer: &Answer) -> Look {
        match answer.status {
            200..=299 => match self.failover(answer) {
                Ok(Failover {
                    state: State::Processing,
                    ..
                }) => Look::Changing,
                Ok(Failover { active, .. }) if self.is_ours(active) => Look::Ours,
                Ok(Failover { active, state }) => Look::Elsewhere {
                    to: active.map(|active| active.to_string()),
                    settled: state == State::Ready,
                },
                Err(problem) if problem.is_about_ip() => Look::Refused(Problem::new(problem)),
                Err(problem) => self.unsupported(Problem::new(problem)),
            },
            401 => Look::Refused(Problem::new(self.login())),
            300..=399 => match self.is_custom {
                true => Look::Unsupported(Problem::new(self.redirect(answer))),
                false => Look::Refused(Problem::new(self.redirect(answer))),
            },
            429 => Look::Unanswered(self.limited_or_status(answer)),
            403 if self.code(answer).as_deref() == Some(RATE_LIMIT) || !self.is_custom => {
                Look::Unanswered(self.limited_or_status(answer))
            }
            404 if !self.is_custom && self.code(answer).is_some() => {
                Look::Refused(self.status(answer))
            }
            409 if self.code(answer).as_deref() == Some("FAILOVER_LOCKED") => Look::Changing,
            404 | 405 | 501 => self.unsupported(self.status(answer)),
            // Without an error of the webservice, it comes from an endpoint that has no such request.
            400..=499 if self.code(answer).is_none() => self.unsupported(self.status(answer)),
            _ => Look::Unanswered(self.status(answer)),
        }
    }

    fn limited_or_status(&self, answer: &Answer) -> Problem {
        self.limited(answer)
            .map_or_else(|| self.status(answer), Problem::new)
    }

    fn unsupported(&self, problem: Problem) -> Look {
        match self.is_custom {
            true => Look::Unsupported(problem),
            false => Look::Unanswered(problem),
        }
    }

    fn success(&self, answer: &Answer) -> Change {
        let status = answer.status;
        match self.failover(answer) {
            Ok(Failover { active, state }) if self.is_ours(active) => match state {
                State::Ready | State::Unknown => Change::Done,
                State::Processing => self.accepted(RobotProblem::Unfinished(status)),
            },
            Ok(_) => Change::Running(Problem::new(RobotProblem::NotRoutedHere(status))),
            Err(problem) if problem.is_about_ip() => refused(problem),
            Err(problem) => self.accepted(problem),
        }
    }

    /// Hetzner's own webservice can always say more later, so there it is no more than a sign that
    /// a switch is running.
    fn accepted(&self, problem: RobotProblem) -> Change {
        match self.is_custom {
            true => Change::Accepted(Problem::new(problem)),
            false => Change::Running(Problem::new(problem)),
        }
    }

    fn is_ours(&self, active: Option<IpAddr>) -> bool {
        active.is_some_and(|active| is_same_network(active, self.ours))
    }

    fn failover(&self, answer: &Answer) -> Result<Failover, RobotProblem> {
        let unreadable = || RobotProblem::Unreadable(answer.status);
        let body: Value = serde_json::from_slice(answer.body).map_err(|_| unreadable())?;
        let failover = body["failover"].as_object().ok_or_else(unreadable)?;
        let address = |member: &str| match failover.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| unreadable()),
            Some(_) => Err(unreadable()),
        };
        if let Some(named) = address("ip")? {
            self.check_ip(answer.status, named, address("netmask").ok().flatten())?;
        }
        // It is null where the address is unrouted, so it must at least be there.
        if !failover.contains_key("active_server_ip") {
            return Err(unreadable());
        }
        Ok(Failover {
            active: address("active_server_ip")?,
            state: match failover.get("status") {
                None | Some(Value::Null) => State::Unknown,
                Some(Value::String(status)) => match status.as_str() {
                    "processing" => State::Processing,
                    "ready" => State::Ready,
                    _ => State::Unknown,
                },
                Some(_) => return Err(unreadable()),
            },
        })
    }

    /// An answer about another address must not be believed, nor asked for again.
    fn check_ip(
        &self,
        status: u16,
        named: IpAddr,
        netmask: Option<IpAddr>,
    ) -> Result<(), RobotProblem> {
        if named == self.failover_ip {
            return Ok(());
        }
        let ip = self.failover_ip;
        Err(match netmask {
            Some(netmask) if is_within(ip, named, netmask) => RobotProblem::WithinSubnet {
                ip,
                network: named,
                netmask,
            },
            Some(_) | None => RobotProblem::OtherIp { status, named },
        })
    }

    fn login(&self) -> RobotProblem {
        RobotProblem::Login {
            sent_from: self.sent_from,
        }
    }

    fn status(&self, answer: &Answer) -> Problem {
        Problem::new(RobotProblem::Status {
            status: answer.status,
            error: Box::new(self.error(answer)),
            sent_from: self.sent_from.filter(|_| answer.status == 403),
        })
    }

    /// Whether requests are refused because of their number, or because this server's address is
    /// blocked for a while.
    fn limited(&self, answer: &Answer) -> Option<RobotProblem> {
        let body = error_object(answer);
        let code = self.code(answer);
        match (answer.status, code.as_deref()) {
            (429, _) | (403, Some(RATE_LIMIT)) => Some(RobotProblem::RateLimit {
                status: answer.status,
                error: Box::new(self.error(answer)),
                // The documentation has `max_request`, answers have `max_requests`.
                max_requests: self
                    .shown(&body["max_requests"])
                    .or_else(|| self.shown(&body["max_request"])),
                interval: self.shown(&body["interval"]),
            }),
            (403, None) if !body.is_object() => Some(RobotProblem::Blocked {
                sent_from: self.sent_from,
            }),
            _ => None,
        }
    }

    fn redirect(&self, answer: &Answer) -> RobotProblem {
        RobotProblem::Redirect {
            status: answer.status,
            redirect: Redirect::new(answer.location, "password", self.secrets),
        }
    }

    /// The error object's code, as it is.
    fn code(&self, answer: &Answer) -> Option<String> {
        error_object(answer)["code"].as_str().map(String::from)
    }

    fn error(&self, answer: &Answer) -> ApiError {
        let body = error_object(answer);
        let field = |name: &str| {
            self.shown(&body[name])
                .map(|shown| format!("{name}: {shown}"))
        };
        let fields: Vec<String> = [field("missing"), field("invalid")]
            .into_iter()
            .flatten()
            .collect();
        ApiError {
            code: self.shown(&body["code"]),
            message: self.shown(&body["message"]),
            fields: (!fields.is_empty()).then(|| fields.join(", ")),
        }
    }

    /// A value as a person reads it; `None` if there is nothing to read.
    fn shown(&self, value: &Value) -> Option<String> {
        let shown = plain(value)?;
        (!shown.is_empty()).then(|| self.printable(shown.as_bytes()))
    }

    fn printable(&self, foreign: &[u8]) -> String {
        text::printable_without(foreign, self.secrets)
    }
}

fn refused(problem: RobotProblem) -> Change {
    Change::Refused(Problem::new(problem))
}

/// The error object, or null.
fn error_object(answer: &Answer) -> Value {
    let mut body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    match body.get_mut("error").map(Value::take) {
        Some(error @ Value::Object(_)) => error,
        Some(_) | None => Value::Null,
    }
}

/// Not as JSON, whose escapes would hide a secret.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().filter_map(plain).collect();
            Some(shown.join(" "))
        }
        Value::Object(members) => {
            let shown: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{key}: {}", plain(value).unwrap_or_default()))
                .collect();
            Some(shown.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
    }
}

fn is_within(ip: IpAddr, network: IpAddr, netmask: IpAddr) -> bool {
    match (ip, network, netmask) {
        (IpAddr::V4(ip), IpAddr::V4(network), IpAddr::V4(netmask)) => {
            ip.to_bits() & netmask.to_bits() == network.to_bits()
        }
        (IpAddr::V6(ip), IpAddr::V6(network), IpAddr::V6(netmask)) => {
            ip.to_bits() & netmask.to_bits() == network.to_bits()
        }
        _ => false,
    }
}
