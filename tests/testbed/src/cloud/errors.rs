//! The API's error answers.
//!
//! Source: <https://docs.hetzner.cloud/reference/cloud#errors>, and answers of the real service that
//! others have published.

use serde_json::{Value, json};

use super::fault::Fault;
use crate::http::{Answer, header_line};

/// An error of the API, with the status and the message that it usually has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Named after their codes.
pub enum Refusal {
    JsonError,
    Unauthorized,
    TokenReadonly,
    Forbidden,
    ResourceLimitExceeded,
    NotFound,
    MethodNotAllowed,
    UniquenessError,
    DeprecatedApiEndpoint,
    InvalidInput,
    UnsupportedError,
    Protected,
    Maintenance,
    Conflict,
    ResourceUnavailable,
    ServiceError,
    Locked,
    ServerError,
    BadGateway,
    Unavailable,
    Timeout,
    RateLimitExceeded,
    IpNotAvailable,
    NoSubnetAvailable,
    FloatingIpAssigned,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 25] = [
        Refusal::JsonError,
        Refusal::Unauthorized,
        Refusal::TokenReadonly,
        Refusal::Forbidden,
        Refusal::ResourceLimitExceeded,
        Refusal::NotFound,
        Refusal::MethodNotAllowed,
        Refusal::UniquenessError,
        Refusal::DeprecatedApiEndpoint,
        Refusal::InvalidInput,
        Refusal::UnsupportedError,
        Refusal::Protected,
        Refusal::Maintenance,
        Refusal::Conflict,
        Refusal::ResourceUnavailable,
        Refusal::ServiceError,
        Refusal::Locked,
        Refusal::ServerError,
        Refusal::BadGateway,
        Refusal::Unavailable,
        Refusal::Timeout,
        Refusal::RateLimitExceeded,
        Refusal::IpNotAvailable,
        Refusal::NoSubnetAvailable,
        Refusal::FloatingIpAssigned,
    ];

    /// Its status.
    pub fn status(self) -> u16 {
        self.parts().0
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        self.parts().1
    }

    /// The one with this code.
    pub fn of_code(code: &str) -> Option<Refusal> {
        Refusal::ALL.into_iter().find(|one| one.code() == code)
    }

    /// Status, code and message.
    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Refusal::JsonError => (400, "json_error", "cannot decode request body"),
            Refusal::Unauthorized => (
                401,
                "unauthorized",
                "the token you have provided is invalid",
            ),
            Refusal::TokenReadonly => (401, "token_readonly", "the token is only allowed to read"),
            Refusal::Forbidden => (403, "forbidden", "insufficient permissions"),
            Refusal::ResourceLimitExceeded => {
                (403, "resource_limit_exceeded", "resource limit exceeded")
            }
            Refusal::NotFound => (404, "not_found", "resource not found"),
            Refusal::MethodNotAllowed => (405, "method_not_allowed", "method not allowed"),
            Refusal::UniquenessError => (409, "uniqueness_error", "name is already used"),
            Refusal::DeprecatedApiEndpoint => (
                410,
                "deprecated_api_endpoint",
                "API functionality was removed",
            ),
            Refusal::InvalidInput => (422, "invalid_input", "invalid input"),
            Refusal::UnsupportedError => (
                422,
                "unsupported_error",
                "the action is not supported for this resource",
            ),
            Refusal::Protected => (423, "protected", "the resource is protected"),
            Refusal::Maintenance => (403, "maintenance", "the service is in maintenance"),
            Refusal::Conflict => (409, "conflict", "the resource has changed, please retry"),
            Refusal::ResourceUnavailable => {
                (412, "resource_unavailable", "the resource is unavailable")
            }
            Refusal::ServiceError => (422, "service_error", "the service failed"),
            Refusal::Locked => (
                423,
                "locked",
                "cannot perform operation because server is locked",
            ),
            Refusal::ServerError => (500, "server_error", "internal server error"),
            Refusal::BadGateway => (502, "bad_gateway", "bad gateway"),
            Refusal::Unavailable => (503, "unavailable", "the service is unavailable"),
            Refusal::Timeout => (504, "timeout", "the request timed out, please retry"),
            Refusal::RateLimitExceeded => (
                429,
                "rate_limit_exceeded",
                "limit of 3600 requests per hour reached",
            ),
            Refusal::IpNotAvailable => (422, "ip_not_available", "IP not available"),
            Refusal::NoSubnetAvailable => (
                422,
                "no_subnet_available",
                "no subnet or IP available within the IP range of the network",
            ),
            Refusal::FloatingIpAssigned => (
                422,
                "floating_ip_assigned",
                "the Floating IP is already assigned to this server",
            ),
        }
    }

    /// Its answer.
    pub(super) fn answer(self) -> Answer {
        let (status, code, message) = self.parts();
        let details = match self {
            Refusal::InvalidInput => return invalid_input("server", "is invalid"),
            Refusal::Unauthorized => return unauthorized(message),
            Refusal::DeprecatedApiEndpoint => {
                Some(json!({"announcement": "https://docs.hetzner.cloud/changelog"}))
            }
            _ => None,
        };
        let answer = error(status, code, message, details);
        match self {
            Refusal::RateLimitExceeded => answer.with_header("RateLimit-Remaining", "0"),
            _ => answer,
        }
    }

    /// Its answer with another message.
    pub(super) fn saying(self, message: &str) -> Answer {
        error(self.status(), self.code(), message, None)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        refusal.answer().into()
    }
}

/// Without `details` there is no such field: the documentation calls it optional.
pub(super) fn error(status: u16, code: &str, message: &str, details: Option<Value>) -> Answer {
    let mut error = json!({"code": code, "message": message});
    if let Some(details) = details {
        error["details"] = details;
    }
    pretty(status, &json!({"error": error}))
}

pub(super) fn invalid_input(field: &str, message: &str) -> Answer {
    let text = format!("invalid input in field '{field}'");
    let fields = json!({"fields": [{"name": field, "messages": [message]}]});
    error(422, "invalid_input", &text, Some(fields))
}

/// As captured: compact, with `details`, and chunked.
pub(super) fn unauthorized(message: &str) -> Answer {
    let body = format!(
        "{{\"error\":{{\"code\":\"unauthorized\",\"details\":null,\"message\":\"{message}\"}}}}"
    );
    let half = body.len() / 2;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    Answer {
        status: 401,
        headers: vec![
            header_line("Content-Type", "application/json"),
            header_line("Transfer-Encoding", "chunked"),
        ],
        body: [chunk(&body[..half]), chunk(&body[half..]), chunk("")]
            .concat()
            .into_bytes(),
    }
}

pub(super) fn route_not_found() -> Answer {
    Refusal::NotFound.saying("api route not found")
}

/// An object as the API prints it.
pub(super) fn pretty(status: u16, value: &Value) -> Answer {
    Answer {
        body: format!("{value:#}\n").into_bytes(),
        ..Answer::json(status, value)
    }
}
