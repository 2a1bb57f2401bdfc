//! The summary of the story.

use std::time::{Duration, Instant};

use crate::screen::{Look, Screen};
use crate::service::Words;
use crate::stage::{FAILOVER_IP, SWITCH_TIME, Server};

/// Where the address is routed.
#[derive(Debug, Clone, Copy)]
pub enum Route {
    Nowhere,
    To(Server),
    /// To a server that is dead.
    ToTheDead(Server),
}

pub struct Timeline {
    words: &'static Words,
    entries: Vec<(Instant, String, Route)>,
    user_waited: Option<Duration>,
}

impl Timeline {
    pub fn new(words: &'static Words) -> Timeline {
        Timeline {
            words,
            entries: Vec::new(),
            user_waited: None,
        }
    }

    pub fn add(&mut self, at: Instant, what: impl Into<String>, route: Route) {
        self.entries.push((at, what.into(), route));
    }

    /// How long the user got no answer.
    pub fn user_waited(&mut self, time: Duration) {
        self.user_waited = Some(time);
    }

    pub fn show(&self, screen: &Screen) {
        screen.title("Summary");
        screen.line(&format!(
            "    time   {:<45}{FAILOVER_IP} is routed to",
            "what happens"
        ));
        for (at, what, route) in &self.entries {
            let route = match route {
                Route::Nowhere => "no server".into(),
                Route::To(server) => screen.paint(Look::Good, &server.to_string()),
                Route::ToTheDead(server) => {
                    screen.paint(Look::Bad, &format!("{}, which is dead", server.name()))
                }
            };
            screen.line(&format!(" {}   {what:<45}{route}", screen.time(*at)));
        }
        screen.line("");
        let outage = self.outage();
        screen.paragraph(&format!(
            "For {:.1} s, {FAILOVER_IP} was routed to a dead server: B was elected after {:.1} s, and \
             the switch took {} s ({} at Hetzner).",
            outage.as_secs_f64(),
            outage.saturating_sub(SWITCH_TIME).as_secs_f64(),
            SWITCH_TIME.as_secs(),
            self.words.real_time
        ));
        if let Some(waited) = self.user_waited {
            let waited = waited.as_secs_f64();
            screen.paragraph(&format!("The user got no answer for {waited:.1} s."));
        }
        screen.line("");
        let verdict = "It moved to each new Lord, and stayed where it was when a takeover failed.";
        screen.line(&screen.paint(Look::Good, verdict));
    }

    /// How long the address was routed to a dead server.
    fn outage(&self) -> Duration {
        let spans = self.entries.windows(2).map(|pair| match pair {
            [(from, _, Route::ToTheDead(_)), (to, _, _)] => *to - *from,
            _ => Duration::ZERO,
        });
        spans.sum()
    }
}
