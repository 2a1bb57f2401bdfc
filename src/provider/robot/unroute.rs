//! Routes a failover IP to no server: `DELETE` instead of `POST`.

use std::time::Duration;

use ureq::http::Method;

use super::TEMPO;
use super::client::Client;
use crate::provider::{unanswered_change, unanswered_look};
use crate::takeover::{Change, Look, Provider, Tempo};

/// The webservice, asked to route the address to no server. What a takeover calls "ours" is "no
/// server" here.
pub struct Unroute(pub Client);

impl Provider for Unroute {
    fn change(&mut self, within: Duration, _: &dyn Fn() -> bool) -> Change {
        let answer = self.0.ask(Method::DELETE, within, |reader, answer| {
            reader.unrouting(answer)
        });
        answer.unwrap_or_else(unanswered_change)
    }

    fn look(&mut self, within: Duration) -> Look {
        let answer = self.0.ask(Method::GET, within, |reader, answer| {
            reader.look_unrouted(answer)
        });
        answer.unwrap_or_else(unanswered_look)
    }

    fn requests(&self) -> u32 {
        self.0.requests()
    }

    fn tempo(&self) -> &'static Tempo {
        &TEMPO
    }

    fn has_refused_login(&self) -> bool {
        self.0.has_refused_login()
    }
}
