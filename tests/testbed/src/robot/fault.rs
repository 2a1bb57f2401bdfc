//! Faults on order: which they are, and which requests they apply to.

use std::collections::VecDeque;
use std::time::Duration;

use super::errors;
use crate::http::{Answer, header_line};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Queries a route.
    Get,
    /// Switches a route.
    Post,
    /// Removes a route.
    Delete,
    /// Every request.
    Any,
}

impl Method {
    pub(super) fn is(self, method: &str) -> bool {
        match self {
            Method::Get => method == "GET",
            Method::Post => method == "POST",
            Method::Delete => method == "DELETE",
            Method::Any => true,
        }
    }
}

/// Which requests a fault applies to.
///
/// Faults of a handshake ([`Fault::HangHandshake`], [`Fault::CutHandshake`]) apply to connections,
/// whatever the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The next one.
    Once(Method),
    /// The next so many.
    Times(Method, usize),
    /// All, until [`Robot::clear_orders`](super::Robot::clear_orders).
    Always(Method),
}

/// A fault.
///
/// A request with a fault is recorded and counts for the request limit and the login lock-out like any
/// other. It is only served where that is documented here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No fault: the request is served and answered correctly. It lets requests pass before the next
    /// order, or follows a [`Delay`](Fault::Delay).
    Nothing,
    /// No answer, until the Robot stops or the peer leaves.
    Hang,
    /// The connection is accepted, and nothing is ever sent.
    HangHandshake,
    /// The connection is accepted, and closed in the middle of the TLS handshake.
    CutHandshake,
    /// The connection is reset (RST).
    Reset,
    /// The connection is closed properly, without an answer.
    Close,
    /// The request is served, but only half the answer's body is sent before the connection is
    /// closed.
    Truncate,
    /// Bytes that are not HTTP, then the connection is closed.
    Garbage,
    /// The request is served; the body, padded with leading spaces to 48 KiB, is sent one
    /// byte at a time.
    Drip {
        /// The pause before each byte.
        every: Duration,
    },
    /// Endless headers, one byte at a time.
    DripHeaders {
        /// The pause before each byte.
        every: Duration,
    },
    /// Status 200 with this many bytes that look like a failover object; all of them are sent.
    Oversize {
        /// The length of the body.
        bytes: u64,
    },
    /// Status 200 that announces this many bytes, sends a few, and keeps the connection open.
    OversizeAnnounced {
        /// The length announced.
        bytes: u64,
    },
    /// Status 200 with a chunked body that never ends, sent as fast as the peer reads.
    Endless,
    /// The request is served, but 100,000 headers come before those of the answer.
    HeaderFlood,
    /// The request is served; the answer is compressed with gzip, without having been requested so.
    Compressed,
    /// A redirect.
    Redirect {
        /// Its status, 3xx.
        status: u16,
        /// Its target.
        location: String,
    },
    /// This answer. `Content-Length` is added unless the headers already specify a length.
    Answer {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// The request is served, which takes the switch time; then this happens instead of the answer.
    ApplyThen(Box<Fault>),
    /// The request is served; this happens instead of the answer, at once, while the switch is still
    /// running, and also if the request is refused.
    StartThen(Box<Fault>),
    /// The request is served. If that starts a switch, this happens instead of the answer, at once;
    /// the switch goes on. A refusal is answered as it should be.
    WhileSwitching(Box<Fault>),
    /// The request is served and answered at once, even if that starts a switch: the failover object
    /// is the one of that moment.
    Snapshot,
    /// Exactly these bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// Exactly these bytes, then others repeatedly, as fast as the peer reads.
    Flood {
        /// Sent once.
        first: Vec<u8>,
        /// Sent forever.
        again: Vec<u8>,
    },
    /// This, after a delay.
    Delay(Duration, Box<Fault>),
}

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

    /// A request that starts a switch is never answered: its connection stays open until the
    /// client leaves. The switch goes on. Refusals are answered as they should be.
    pub fn lost() -> Fault {
        Fault::WhileSwitching(Box::new(Fault::Hang))
    }

    /// As [`Fault::lost`], but the connection is reset after this time, even if the switch is over
    /// by then.
    pub fn lost_after(time: Duration) -> Fault {
        let reset = Fault::Delay(time, Box::new(Fault::Reset));
        Fault::WhileSwitching(Box::new(reset))
    }

    /// A status with an HTML page, as from a proxy in front of the webservice.
    pub fn page(status: u16) -> Fault {
        Fault::Answer {
            status,
            headers: vec![header_line("Content-Type", "text/html")],
            body: format!("<html><body><h1>{status}</h1></body></html>\n").into_bytes(),
        }
    }

    /// The variant's name.
    pub(super) fn name(&self) -> String {
        let text = format!("{self:?}");
        text.chars().take_while(|c| c.is_alphanumeric()).collect()
    }

    /// Whether it serves its request, and without delay.
    pub(super) fn serves_at_once(&self) -> bool {
        matches!(
            self,
            Fault::Nothing
                | Fault::Truncate
                | Fault::Drip { .. }
                | Fault::HeaderFlood
                | Fault::Compressed
                | Fault::ApplyThen(_)
                | Fault::StartThen(_)
                | Fault::WhileSwitching(_)
                | Fault::Snapshot
        )
    }

    pub(super) fn is_of_handshake(&self) -> bool {
        matches!(self, Fault::HangHandshake | Fault::CutHandshake)
    }
}

impl From<Answer> for Fault {
    fn from(answer: Answer) -> Fault {
        Fault::Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }
    }
}

/// The faults ordered, first come first served.
#[derive(Default)]
pub(super) struct Orders(VecDeque<Order>);

struct Order {
    method: Method,
    /// How often it still applies; `None` for always.
    left: Option<usize>,
    fault: Fault,
}

impl Orders {
    pub(super) fn add(&mut self, when: When, fault: Fault) {
        let (method, left) = match when {
            When::Once(method) => (method, Some(1)),
            When::Times(method, times) => (method, Some(times)),
            When::Always(method) => (method, None),
        };
        self.0.push_back(Order {
            method,
            left,
            fault,
        });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for a request of this method.
    pub(super) fn strike_request(&mut self, method: &str) -> Option<Fault> {
        self.strike(|order| order.method.is(method) && !order.fault.is_of_handshake())
    }

    /// The fault for a new connection.
    pub(super) fn strike_connection(&mut self) -> Option<Fault> {
        self.strike(|order| order.fault.is_of_handshake())
    }

    fn strike(&mut self, applies: impl Fn(&Order) -> bool) -> Option<Fault> {
        self.0.retain(|order| order.left != Some(0));
        let order = self.0.iter_mut().find(|order| applies(order))?;
        if let Some(left) = &mut order.left {
            *left -= 1;
        }
        Some(order.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_strike_in_turn_and_by_method() {
        let mut orders = Orders::default();
        orders.add(When::Times(Method::Post, 2), Fault::Hang);
        orders.add(When::Once(Method::Any), Fault::Close);
        orders.add(When::Always(Method::Post), Fault::Reset);
        orders.add(When::Once(Method::Any), Fault::CutHandshake);
        assert_eq!(orders.strike_request("POST"), Some(Fault::Hang));
        assert_eq!(orders.strike_request("GET"), Some(Fault::Close));
        assert_eq!(orders.strike_request("GET"), None);
        assert_eq!(orders.strike_request("POST"), Some(Fault::Hang));
        for _ in 0..3 {
            assert_eq!(orders.strike_request("POST"), Some(Fault::Reset));
        }
        assert_eq!(orders.strike_connection(), Some(Fault::CutHandshake));
        assert_eq!(orders.strike_connection(), None);
        orders.clear();
        assert_eq!(orders.strike_request("POST"), None);
    }
}
