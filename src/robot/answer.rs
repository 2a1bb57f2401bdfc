//! What a status and a body mean: the table of a takeover's answers.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::object::{Object, Short};
use super::problem::{Problem, Said};
use super::{Route, Switch};
use crate::text;

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
    /// What must not be shown, even if the server sends it back.
    pub secrets: &'a [&'a [u8]],
}

/// A readable failover object. Source: `GET /failover/{ip}`.
struct Failover {
    active: Option<IpAddr>,
    processing: bool,
}

#[derive(Deserialize)]
struct FailoverAnswer {
    failover: Object<FailoverObject>,
}

#[derive(Deserialize)]
struct FailoverObject {
    ip: Option<String>,
    status: Option<String>,
    // Null when unrouted, so being there is not the same as having a value.
    #[serde(deserialize_with = "Option::deserialize")]
    active_server_ip: Option<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: Object<ErrorObject>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorObject {
    code: Short,
    message: Short,
    missing: Short,
    invalid: Short,
    max_request: Short,
    interval: Short,
}

impl Reader<'_> {
    /// What the answer to a `POST` means.
    pub fn switch(&self, answer: &Answer) -> Switch {
        match answer.status {
            200..=299 => self.accepted(answer),
            300..=399 => Switch::Refused(self.redirect(answer)),
            401 => Switch::Refused(Problem::Login),
            409 => self.conflict(answer),
            400..=499 => match self.rate_limit(answer) {
                Some(problem) => Switch::RateLimited(problem),
                None => Switch::Refused(self.status(answer)),
            },
            _ => Switch::Failing(self.status(answer)),
        }
    }

    /// What the answer to a `GET` says.
    pub fn route(&self, answer: &Answer) -> Route {
        match answer.status {
            200..=299 => match self.failover(answer) {
                Ok(Failover {
                    processing: true, ..
                }) => Route::Processing,
                Ok(Failover { active, .. }) if active == Some(self.ours) => Route::Ours,
                Ok(Failover { active, .. }) => Route::Elsewhere(active),
                Err(problem @ Problem::OtherIp { .. }) => Route::Refused(problem),
                Err(problem) => Route::Unusable(problem),
            },
            401 => Route::Refused(Problem::Login),
            300..=399 => Route::Unusable(self.redirect(answer)),
            400..=499 => Route::Unusable(
                self.rate_limit(answer)
                    .unwrap_or_else(|| self.status(answer)),
            ),
            _ => Route::Unanswered(self.status(answer)),
        }
    }

    fn accepted(&self, answer: &Answer) -> Switch {
        match self.failover(answer) {
            Ok(failover) if failover.active == Some(self.ours) && !failover.processing => {
                Switch::Routed
            }
            Ok(Failover {
                processing: true,
                active,
            }) if active == Some(self.ours) => Switch::Accepted(Problem::Unfinished(answer.status)),
            Ok(Failover {
                processing: true, ..
            }) => Switch::Unfinished(Problem::Unfinished(answer.status)),
            Ok(Failover { active, .. }) => Switch::Elsewhere(active, self.not_here(answer)),
            Err(problem @ Problem::OtherIp { .. }) => Switch::Refused(problem),
            Err(problem) => Switch::Accepted(problem),
        }
    }

    fn not_here(&self, answer: &Answer) -> Problem {
        Problem::NotRoutedHere(answer.status)
    }

    fn conflict(&self, answer: &Answer) -> Switch {
        let problem = self.status(answer);
        match self.error(answer).code.0.as_str() {
            Some("FAILOVER_ALREADY_ROUTED") => Switch::Routed,
            Some("FAILOVER_LOCKED") => Switch::Locked(problem),
            Some(_) => Switch::Conflict(problem),
            None => Switch::Accepted(problem),
        }
    }

    fn failover(&self, answer: &Answer) -> Result<Failover, Problem> {
        let unreadable = || Problem::Unreadable(answer.status);
        let Object(FailoverAnswer {
            failover: Object(failover),
        }) = serde_json::from_slice(answer.body).map_err(|_| unreadable())?;
        if let Some(named) = failover.ip {
            let about: IpAddr = named.parse().map_err(|_| unreadable())?;
            if about != self.failover_ip {
                return Err(Problem::OtherIp {
                    status: answer.status,
                    named: self.printable(named.as_bytes()),
                });
            }
        }
        let active = match failover.active_server_ip {
            Some(active) => Some(active.parse().map_err(|_| unreadable())?),
            None => None,
        };
        Ok(Failover {
            active,
            processing: failover.status.as_deref() == Some("processing"),
        })
    }

    fn status(&self, answer: &Answer) -> Problem {
        Problem::Status {
            status: answer.status,
            said: Box::new(self.said(&self.error(answer))),
        }
    }

    fn rate_limit(&self, answer: &Answer) -> Option<Problem> {
        let error = self.error(answer);
        let limited =
            answer.status == 429 || answer.status == 403 && error.code.0 == "RATE_LIMIT_EXCEEDED";
        limited.then(|| Problem::RateLimit {
            status: answer.status,
            said: Box::new(self.said(&error)),
            max_request: self.shown(&error.max_request.0).unwrap_or("some".into()),
            interval: self.shown(&error.interval.0).unwrap_or("some".into()),
        })
    }

    fn redirect(&self, answer: &Answer) -> Problem {
        let location = answer.location.unwrap_or_default();
        let host = location
            .parse::<ureq::http::Uri>()
            .ok()
            .and_then(|uri| uri.host().map(|host| self.printable(host.as_bytes())));
        Problem::Redirect {
            status: answer.status,
            host: host.unwrap_or_else(|| match location {
                "" => "nowhere (it has no Location)".into(),
                _ => "the same host".into(),
            }),
        }
    }

    fn error(&self, answer: &Answer) -> ErrorObject {
        serde_json::from_slice(answer.body)
            .map(
                |Object(ErrorAnswer {
                     error: Object(error),
                 })| error,
            )
            .unwrap_or_default()
    }

    fn said(&self, error: &ErrorObject) -> Said {
        let field =
            |name: &str, value: &Value| self.shown(value).map(|shown| format!("{name}: {shown}"));
        let fields: Vec<String> = [
            field("missing", &error.missing.0),
            field("invalid", &error.invalid.0),
        ]
        .into_iter()
        .flatten()
        .collect();
        Said {
            code: self.shown(&error.code.0),
            message: self.shown(&error.message.0),
            fields: (!fields.is_empty()).then(|| fields.join(", ")),
        }
    }

    /// A value as a person reads it; `None` if there is nothing to read.
    fn shown(&self, value: &Value) -> Option<String> {
        let shown = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Array(values) => {
                let shown: Vec<String> = values
                    .iter()
                    .filter_map(|value| self.shown(value))
                    .collect();
                shown.join(" ")
            }
            // Not as JSON, whose escapes would hide a secret.
            Value::Object(members) => {
                let shown: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", self.shown(value).unwrap_or_default()))
                    .collect();
                shown.join(", ")
            }
            Value::Bool(_) | Value::Number(_) => value.to_string(),
        };
        (!shown.is_empty()).then(|| self.printable(shown.as_bytes()))
    }

    fn printable(&self, foreign: &[u8]) -> String {
        text::printable_without(foreign, self.secrets)
    }
}
