//! The whole story in a few lines.

use std::time::{Duration, Instant};

use crate::screen::{Look, Screen};
use crate::stage::{FAILOVER_IP, SWITCH_TIME, Server};

/// Where the failover IP leads.
#[derive(Debug, Clone, Copy)]
pub enum Leads {
    Nowhere,
    To(Server),
    /// To a server that is dead.
    ToTheDead(Server),
}

#[derive(Default)]
pub struct Timeline {
    entries: Vec<(Instant, String, Leads)>,
}

impl Timeline {
    pub fn add(&mut self, at: Instant, what: impl Into<String>, leads: Leads) {
        self.entries.push((at, what.into(), leads));
    }

    pub fn show(&self, screen: &Screen) {
        screen.title("The whole story");
        screen.line(&format!(
            "    time   {:<48}{FAILOVER_IP} leads to",
            "what happens"
        ));
        for (at, what, leads) in &self.entries {
            let leads = match leads {
                Leads::Nowhere => "no server".into(),
                Leads::To(server) => screen.paint(Look::Good, &server.to_string()),
                Leads::ToTheDead(server) => {
                    screen.paint(Look::Bad, &format!("{}, dead", server.name()))
                }
            };
            screen.line(&format!(" {}   {what:<48}{leads}", screen.time(*at)));
        }
        screen.line("");
        screen.paragraph(&format!(
            "{FAILOVER_IP} led to a dead server for {:.1} s: until the others regarded A as dead and voted, \
             and {} s for the switch.",
            self.outage().as_secs_f64(),
            SWITCH_TIME.as_secs()
        ));
        let verdict = "It moved with every new Lord, and stayed when a takeover failed.";
        screen.line(&screen.paint(Look::Good, verdict));
    }

    /// How long the failover IP led to a dead server.
    fn outage(&self) -> Duration {
        let spans = self.entries.windows(2).map(|pair| match pair {
            [(from, _, Leads::ToTheDead(_)), (to, _, _)] => *to - *from,
            _ => Duration::ZERO,
        });
        spans.sum()
    }
}
