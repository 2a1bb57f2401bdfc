//! What a status and a body mean: the table of the API's errors.
//!
//! Source: the API's reference, "Errors" and "Rate Limiting".

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;

use super::problem::CloudProblem;
use crate::provider::problem::{ApiError, Redirect};
use crate::takeover::Problem;
use crate::text;

/// The Floating IP is assigned to this very server already.
pub const FLOATING_IP_ASSIGNED: &str = "floating_ip_assigned";

/// An answer that came in whole.
pub struct Answer<'a> {
    pub status: u16,
    /// The `Location` header.
    pub location: Option<&'a str>,
    /// The `X-Correlation-Id` header, which Hetzner's support asks for.
    pub correlation_id: Option<&'a str>,
    pub body: &'a [u8],
}

/// What becomes of a request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The token is refused.
    Token,
    /// Retrying does not help until somebody has fixed something.
    Final,
    /// It may succeed later.
    Passing,
    /// A service that must be asked first is not reached. It is no better than no connection.
    Silent,
    /// Too many requests. One more is accepted each second.
    Limited,
}

/// Why a request was refused.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub kind: Kind,
    /// The webservice itself is in trouble, so it may have done it nevertheless.
    pub is_fault: bool,
    /// The error's code, as it is.
    pub code: Option<String>,
    pub problem: Problem,
}

impl Trouble {
    /// Trouble that no answer says.
    pub fn new(kind: Kind, problem: CloudProblem) -> Trouble {
        Trouble {
            kind,
            is_fault: false,
            code: None,
            problem: Problem::new(problem),
        }
    }
}

/// Reads answers.
pub struct Reader<'a> {
    /// What must not be shown, even if the server sends it back.
    pub secrets: &'a [&'a [u8]],
}

/// The error object, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    code: Value,
    message: Value,
    details: Value,
}

impl Reader<'_> {
    /// Why the request was refused; `None` if it was not.
    pub fn trouble(&self, answer: &Answer) -> Option<Trouble> {
        let status = answer.status;
        match status {
            200..=299 => return None,
            300..=399 => {
                let redirect = Redirect::new(answer.location, "token", self.secrets);
                let problem = CloudProblem::Redirect {
                    status,
                    redirect,
                    correlation: self.correlation(answer),
                };
                return Some(Trouble::new(Kind::Final, problem));
            }
            _ => {}
        }
        let object = error_object(answer.body);
        let code = object.code.as_str().map(String::from);
        let kind = kind(status, code.as_deref());
        let error = Box::new(self.error(&object));
        let correlation = self.correlation(answer);
        let problem = match (kind, code.as_deref()) {
            (_, Some("token_readonly")) => CloudProblem::ReadOnly { error, correlation },
            (Kind::Token, _) => CloudProblem::Token { error, correlation },
            (Kind::Final | Kind::Passing | Kind::Silent | Kind::Limited, _) => {
                CloudProblem::Status {
                    status,
                    error,
                    correlation,
                }
            }
        };
        Some(Trouble {
            kind,
            is_fault: status >= 500,
            code,
            problem: Problem::new(problem),
        })
    }

    /// The body of a success is not what was expected.
    pub fn unreadable(&self, answer: &Answer) -> Problem {
        Problem::new(CloudProblem::Unreadable {
            status: answer.status,
            correlation: self.correlation(answer),
        })
    }

    /// What may be shown of a foreign text; `None` if there is nothing to read.
    pub fn shown(&self, foreign: &str) -> Option<String> {
        let shown = text::printable_without(foreign.as_bytes(), self.secrets);
        (!shown.is_empty()).then_some(shown)
    }

    fn correlation(&self, answer: &Answer) -> Option<String> {
        self.shown(answer.correlation_id?)
    }

    fn error(&self, object: &ErrorObject) -> ApiError {
        let text = |value: &Value| self.shown(value.as_str()?);
        ApiError {
            code: text(&object.code),
            message: text(&object.message),
            fields: self.details(&object.details),
        }
    }

    /// The fields that `invalid_input` names, or the announcement of what was removed.
    fn details(&self, details: &Value) -> Option<String> {
        if let Some(announcement) = details["announcement"].as_str() {
            return self.shown(announcement);
        }
        let fields = details["fields"].as_array()?.iter().map(|field| {
            let name = field["name"].as_str().unwrap_or("?");
            let messages = field["messages"].as_array().into_iter().flatten();
            let messages: Vec<&str> = messages.filter_map(Value::as_str).collect();
            match &messages[..] {
                [] => name.to_string(),
                messages => format!("{name}: {}", messages.join(" ")),
            }
        });
        self.shown(&fields.collect::<Vec<_>>().join(", "))
    }
}

/// The code decides where it is known, otherwise the status.
fn kind(status: u16, code: Option<&str>) -> Kind {
    match (code, status) {
        (Some("unauthorized" | "token_readonly"), _) => Kind::Token,
        (
            Some(
                "json_error"
                | "forbidden"
                | "resource_limit_exceeded"
                | "not_found"
                | "method_not_allowed"
                | "uniqueness_error"
                | "deprecated_api_endpoint"
                | "invalid_input"
                | "unsupported_error"
                | "protected"
                | FLOATING_IP_ASSIGNED,
            ),
            _,
        ) => Kind::Final,
        (
            Some(
                "maintenance"
                | "conflict"
                | "resource_unavailable"
                | "service_error"
                | "locked"
                | "server_error"
                | "bad_gateway"
                | "unavailable"
                | "timeout"
                // An alias IP that was taken off a server is not available to others at once.
                | "ip_not_available"
                | "no_subnet_available",
            ),
            _,
        ) => Kind::Passing,
        (Some("rate_limit_exceeded"), _) | (_, 429) => Kind::Limited,
        (_, 401) => Kind::Token,
        (_, 408 | 409 | 412 | 423 | 425) => Kind::Passing,
        (_, 400..=499) => Kind::Final,
        _ => Kind::Passing,
    }
}

/// The error object, or an empty one.
fn error_object(body: &[u8]) -> ErrorObject {
    #[derive(Default, Deserialize)]
    struct Body {
        error: ErrorObject,
    }
    serde_json::from_slice(body)
        .map(|Body { error }| error)
        .unwrap_or_default()
}
