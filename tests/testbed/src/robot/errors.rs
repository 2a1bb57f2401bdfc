//! The webservice's error answers, with their real codes and messages.
//!
//! Source: the Robot webservice's documentation, <https://robot.hetzner.com/doc/webservice/en.html>,
//! sections "Errors", "Server" and "Failover".

use std::time::Duration;

use serde_json::json;

use crate::http::Answer;

pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"status": status, "code": code, "message": message}}),
    )
}

pub(super) fn invalid_input(missing: &[&str], invalid: &[&str]) -> Answer {
    let or_null = |names: &[&str]| match names {
        [] => json!(null),
        names => json!(names),
    };
    Answer::json(
        400,
        &json!({"error": {
            "status": 400,
            "code": "INVALID_INPUT",
            "message": "invalid input",
            "missing": or_null(missing),
            "invalid": or_null(invalid),
        }}),
    )
}

/// The field for the limit has two names: `max_requests` in answers, `max_request` in the
/// documentation.
pub(super) fn rate_limit_exceeded(field: &str, max: u32, interval: Duration) -> Answer {
    Answer::json(
        403,
        &json!({"error": {
            "status": 403,
            "code": "RATE_LIMIT_EXCEEDED",
            "message": "rate limit exceeded",
            field: max,
            "interval": interval.as_secs(),
        }}),
    )
}

pub(super) fn unauthorized() -> Answer {
    error(401, "UNAUTHORIZED", "Unauthorized")
        .with_header("WWW-Authenticate", "Basic realm=\"Robot Webservice\"")
}

pub(super) fn not_found() -> Answer {
    error(404, "NOT_FOUND", "No failover ip was found")
}

pub(super) fn server_not_found() -> Answer {
    error(404, "SERVER_NOT_FOUND", "No server found")
}

pub(super) fn new_server_not_found() -> Answer {
    error(
        404,
        "FAILOVER_NEW_SERVER_NOT_FOUND",
        "The new destination server was not found",
    )
}

pub(super) fn already_routed() -> Answer {
    error(
        409,
        "FAILOVER_ALREADY_ROUTED",
        "The failover ip is already routed to the selected server",
    )
}

pub(super) fn locked() -> Answer {
    error(
        409,
        "FAILOVER_LOCKED",
        "The failover ip can not be set up due to an active lock.",
    )
}
