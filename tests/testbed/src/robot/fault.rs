//! The faults that only the webservice has: its error answers.

use std::convert::Infallible;
use std::time::Duration;

use super::errors;
use crate::mock;

/// A fault: see [`mock::Fault`]. What takes its time is a switch.
pub type Fault = mock::Fault<Infallible>;

impl Fault {
    /// An error of the webservice: `{"error":{"status":..,"code":..,"message":..}}`.
    pub fn error(status: u16, code: &str, message: &str) -> Fault {
        errors::error(status, code, message).into()
    }

    /// `INVALID_INPUT`, with the missing and the invalid fields.
    pub fn invalid_input(missing: &[&str], invalid: &[&str]) -> Fault {
        errors::invalid_input(missing, invalid).into()
    }

    /// `RATE_LIMIT_EXCEEDED`: more than `max` requests within `interval`.
    pub fn rate_limit_exceeded(max: u32, interval: Duration) -> Fault {
        errors::rate_limit_exceeded("max_requests", max, interval).into()
    }

    /// The same as the documentation spells it: with `max_request`.
    pub fn rate_limit_as_documented(max: u32, interval: Duration) -> Fault {
        errors::rate_limit_exceeded("max_request", max, interval).into()
    }

    /// `UNAUTHORIZED`.
    pub fn unauthorized() -> Fault {
        errors::unauthorized().into()
    }

    /// `FAILOVER_LOCKED`.
    pub fn locked() -> Fault {
        errors::locked().into()
    }

    /// `FAILOVER_ALREADY_ROUTED`.
    pub fn already_routed() -> Fault {
        errors::already_routed().into()
    }

    /// `FAILOVER_FAILED`, a 500.
    pub fn failed() -> Fault {
        Fault::error(
            500,
            "FAILOVER_FAILED",
            "Due to an internal error the failover failed",
        )
    }

    /// `FAILOVER_NOT_COMPLETE`, a 500.
    pub fn not_complete() -> Fault {
        Fault::error(
            500,
            "FAILOVER_NOT_COMPLETE",
            "Due to an internal error the failover was not completed",
        )
    }

    /// A 403 with an HTML page and no error object, as an address gets while it is blocked.
    pub fn blocked() -> Fault {
        Fault::page(403)
    }

    /// The answer to a request that starts a switch comes at once, with status 200 and still with
    /// the old server; the switch goes on. Refusals are answered as they should be.
    pub fn early() -> Fault {
        Fault::Snapshot
    }
}
