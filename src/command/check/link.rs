//! Facts about the way to a webservice: whether it answers, its clock, and the requests that are left.

use super::clock;
use crate::command::report::{Level, Topic};
use crate::http::Link;
use crate::order::{Order, Trust};

/// A fact without its place.
type Finding = (Topic, Level, String);

/// The webservice of an order answers.
pub fn reached(order: &Order, link: &Link) -> Finding {
    let verified = match (order.url().is_https(), &order.trust) {
        (false, _) => "not encrypted",
        (true, Trust::Anyone) => "its certificate is not verified (ssl_no_verify)",
        (true, Trust::System | Trust::Bundle(_)) => "its certificate is verified",
    };
    let at = link
        .to
        .map_or_else(String::new, |to| format!(", connected to {to}"));
    let text = format!("{} answers{at}; {verified}", link.host);
    (Topic::Service, Level::Ok, text)
}

/// How many requests are left, if the webservice says so. With less than `few`, a takeover may run out
/// of them.
pub fn requests_left(link: &Link, few: u64) -> Option<Finding> {
    let left = link.requests_left?;
    let level = match left < few {
        true => Level::Warning,
        false => Level::Ok,
    };
    let text = format!("the webservice accepts {left} more requests for now");
    Some((Topic::RateLimit, level, text))
}

/// The hosts whose clock is known.
#[derive(Default)]
pub struct Clocks(Vec<String>);

impl Clocks {
    /// The clock of an order's webservice, once for each host.
    pub fn check(&mut self, order: &Order, link: &Link) -> Option<Finding> {
        let host = order.url().host().to_string();
        if self.0.contains(&host) {
            return None;
        }
        self.0.push(host);
        link.date.map(clock::compare)
    }
}
