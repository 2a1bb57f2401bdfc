//! Faults on order: which they are, and which requests they apply to.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use super::service::Kind;
use crate::http::{Answer, header_line};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes.
    Post,
    /// Removes.
    Delete,
    /// Every request.
    Any,
}

impl Kind for Method {
    fn is(&self, method: &str, _path: &str) -> bool {
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
pub enum When<K> {
    /// The next one.
    Once(K),
    /// The next so many.
    Times(K, usize),
    /// All, until [`Server::clear_orders`](super::Server::clear_orders).
    Always(K),
}

/// A fault.
///
/// A request with a fault is recorded and counts for the request limit and the login lock-out like any
/// other. It is only served where that is documented here. What a request changes takes its time:
/// *begins* and *is done* are two moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault<Q> {
    /// No fault: the request is served and answered correctly. It lets requests pass before the next
    /// order, or follows a [`Delay`](Fault::Delay).
    Nothing,
    /// No answer, until the service stops or the peer leaves.
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
    /// Status 200 with this many bytes that look like an object of the service; all of them are sent.
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
    /// The request is served, until its change is done; then this happens instead of the answer.
    ApplyThen(Box<Fault<Q>>),
    /// The request is served; this happens instead of the answer, at once, while the change is still
    /// running, and also if the request is refused.
    StartThen(Box<Fault<Q>>),
    /// The request is served. If that begins a change, this happens instead of the answer, at once;
    /// the change goes on. A refusal is answered as it should be.
    WhileSwitching(Box<Fault<Q>>),
    /// The request is served and answered at once, even if that begins a change: the object is the
    /// one of that moment.
    Snapshot,
    /// The request is served with this fault of the service itself, and answered.
    Quirk(Q),
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
    Delay(Duration, Box<Fault<Q>>),
}

impl<Q: Clone + Debug> Fault<Q> {
    /// A request that begins a change is never answered: its connection stays open until the
    /// client leaves. The change goes on. Refusals are answered as they should be.
    pub fn lost() -> Fault<Q> {
        Fault::WhileSwitching(Box::new(Fault::Hang))
    }

    /// As [`Fault::lost`], but the connection is reset after this time, even if the change is over
    /// by then.
    pub fn lost_after(time: Duration) -> Fault<Q> {
        let reset = Fault::Delay(time, Box::new(Fault::Reset));
        Fault::WhileSwitching(Box::new(reset))
    }

    /// A status with an HTML page, as from a proxy in front of the service.
    pub fn page(status: u16) -> Fault<Q> {
        Fault::Answer {
            status,
            headers: vec![header_line("Content-Type", "text/html")],
            body: format!("<html><body><h1>{status}</h1></body></html>\n").into_bytes(),
        }
    }

    /// The variant's name.
    pub(super) fn name(&self) -> String {
        let text = match self {
            Fault::Quirk(quirk) => format!("{quirk:?}"),
            fault => format!("{fault:?}"),
        };
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
                | Fault::Quirk(_)
        )
    }

    /// The service's own fault, if it is one or leads to one.
    pub(super) fn quirk(&self) -> Option<&Q> {
        match self {
            Fault::Quirk(quirk) => Some(quirk),
            Fault::ApplyThen(then)
            | Fault::StartThen(then)
            | Fault::WhileSwitching(then)
            | Fault::Delay(_, then) => then.quirk(),
            _ => None,
        }
    }

    pub(super) fn is_of_handshake(&self) -> bool {
        matches!(self, Fault::HangHandshake | Fault::CutHandshake)
    }
}

impl<Q> From<Answer> for Fault<Q> {
    fn from(answer: Answer) -> Fault<Q> {
        Fault::Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }
    }
}

/// The faults ordered, first come first served.
pub(super) struct Orders<K, Q>(VecDeque<Order<K, Q>>);

struct Order<K, Q> {
    kind: K,
    /// How often it still applies; `None` for always.
    left: Option<usize>,
    fault: Fault<Q>,
}

impl<K, Q> Default for Orders<K, Q> {
    fn default() -> Orders<K, Q> {
        Orders(VecDeque::new())
    }
}

impl<K: Kind, Q: Clone + Debug> Orders<K, Q> {
    pub(super) fn add(&mut self, when: When<K>, fault: Fault<Q>) {
        let (kind, left) = match when {
            When::Once(kind) => (kind, Some(1)),
            When::Times(kind, times) => (kind, Some(times)),
            When::Always(kind) => (kind, None),
        };
        self.0.push_back(Order { kind, left, fault });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for a request.
    pub(super) fn strike_request(&mut self, method: &str, path: &str) -> Option<Fault<Q>> {
        self.strike(|order| order.kind.is(method, path) && !order.fault.is_of_handshake())
    }

    /// The fault for a new connection.
    pub(super) fn strike_connection(&mut self) -> Option<Fault<Q>> {
        self.strike(|order| order.fault.is_of_handshake())
    }

    fn strike(&mut self, applies: impl Fn(&Order<K, Q>) -> bool) -> Option<Fault<Q>> {
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
        let mut orders: Orders<Method, ()> = Orders::default();
        orders.add(When::Times(Method::Post, 2), Fault::Hang);
        orders.add(When::Once(Method::Any), Fault::Close);
        orders.add(When::Always(Method::Post), Fault::Reset);
        orders.add(When::Once(Method::Any), Fault::CutHandshake);
        assert_eq!(orders.strike_request("POST", "/"), Some(Fault::Hang));
        assert_eq!(orders.strike_request("GET", "/"), Some(Fault::Close));
        assert_eq!(orders.strike_request("GET", "/"), None);
        assert_eq!(orders.strike_request("POST", "/"), Some(Fault::Hang));
        for _ in 0..3 {
            assert_eq!(orders.strike_request("POST", "/"), Some(Fault::Reset));
        }
        assert_eq!(orders.strike_connection(), Some(Fault::CutHandshake));
        assert_eq!(orders.strike_connection(), None);
        orders.clear();
        assert_eq!(orders.strike_request("POST", "/"), None);
    }
}
