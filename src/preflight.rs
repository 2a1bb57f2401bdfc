//! Whatever is misconfigured is said at boot: checks every `hetzner-*` hook of every legion.

use std::ffi::CStr;
use std::fmt::Display;
use std::time::Duration;

use crate::order::Order;
use crate::robot;
use crate::uwsgi::settings::{announce_interval, death_on_lord_error, tolerance};
use crate::uwsgi::{self, Hook, Legion};

/// The legion action's name.
pub const ACTION: &CStr = c"hetzner-failoverip";
/// What every action of this plugin begins with.
const OURS: &str = "hetzner-";

/// The shortest sensible suspension, in seconds: the others have to agree on another Lord.
const LEAST_SUSPENSION: u64 = 3;

/// What the check found.
#[derive(Default)]
pub struct Findings {
    /// One line each; with any of them uWSGI must not start.
    pub mistakes: Vec<String>,
    /// One line each.
    pub warnings: Vec<String>,
    /// The legions that have a hook of ours.
    pub legions: Vec<Legion>,
}

/// Checks everything that can be checked before a takeover.
pub fn check() -> Findings {
    let mut findings = Findings::default();
    for legion in uwsgi::legions() {
        let ours: Vec<Hook> = legion
            .hooks()
            .into_iter()
            .filter(|hook| hook.action.starts_with(OURS))
            .collect();
        for hook in &ours {
            findings.check_hook(&legion.name(), hook);
        }
        if !ours.is_empty() {
            findings.check_election(legion, &ours);
            findings.legions.push(legion);
        }
    }
    if !findings.legions.is_empty() {
        findings.check_tolerance(announce_interval(), tolerance());
    }
    findings
}

impl Findings {
    fn check_hook(&mut self, legion: &str, hook: &Hook) {
        let place = format!("legion \"{legion}\", legion-{}", hook.event);
        if hook.action.as_bytes() != ACTION.to_bytes() {
            self.mistakes.push(format!(
                "{place}: {}: unknown action; there is hetzner-failoverip",
                hook.action
            ));
            return;
        }
        let line = |what: &dyn Display| format!("{place}: {}: {what}", hook.action);
        match Order::parse(&hook.argument) {
            Ok(order) => {
                self.warnings
                    .extend(order.warnings().iter().map(|warning| line(warning)));
                self.mistakes.extend(
                    order
                        .check_password_file()
                        .iter()
                        .map(|mistake| line(mistake)),
                );
                self.mistakes
                    .extend(robot::proxy_for(&order.url).err().map(|error| line(&error)));
                self.mistakes
                    .extend(robot::check_store(&order).err().map(|error| line(&error)));
            }
            Err(mistakes) => self
                .mistakes
                .extend(mistakes.iter().map(|mistake| line(mistake))),
        }
    }

    fn check_election(&mut self, legion: Legion, ours: &[Hook]) {
        let name = legion.name();
        let (peers, quorum) = legion.electorate();
        self.check_quorum(&name, peers, quorum);
        let is_lord_hook = ours.iter().any(|hook| hook.event == "lord");
        if is_lord_hook {
            self.check_suspension(
                &name,
                death_on_lord_error().map_or(0, |span| span.as_secs()),
            );
        }
    }

    fn check_suspension(&mut self, legion: &str, seconds: u64) {
        match seconds {
            0 => self.warnings.push(format!(
                "legion \"{legion}\": legion-death-on-lord-error is not set: a node whose takeover \
                 failed stays Lord, and no other tries; set it to 300"
            )),
            1..LEAST_SUSPENSION => self.warnings.push(format!(
                "legion \"{legion}\": legion-death-on-lord-error ({seconds} s) is too short for the \
                 other nodes to take over meanwhile; set it to 300"
            )),
            LEAST_SUSPENSION.. => {}
        }
    }

    fn check_quorum(&mut self, legion: &str, peers: usize, quorum: i32) {
        let nodes = peers + 1;
        let majority = nodes / 2 + 1;
        if peers > 0 && usize::try_from(quorum).unwrap_or(0) < majority {
            self.warnings.push(format!(
                "legion \"{legion}\": legion-quorum ({quorum}) is no majority of its {nodes} \
                 nodes: one that is cut off takes the IP from the others; set it to {majority}"
            ));
        }
    }

    fn check_tolerance(&mut self, interval: Duration, tolerance: Duration) {
        if tolerance <= interval {
            self.warnings.push(format!(
                "legion-tolerance ({} s) is not above legion-freq ({} s): nodes drop each other \
                 between two announcements; set it to at least 3 x legion-freq",
                tolerance.as_secs(),
                interval.as_secs()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(action: &str, argument: &str) -> Findings {
        let mut findings = Findings::default();
        let hook = Hook {
            event: "lord",
            action: action.into(),
            argument: argument.into(),
            place: 0,
        };
        findings.check_hook("failover", &hook);
        findings
    }

    #[test]
    fn a_mistake_names_legion_hook_action_and_key() {
        let found = findings("hetzner-failoverip", "user=A,pass=B,ip=x,active_ip=1.1.1.1");
        assert_eq!(
            found.mistakes,
            [
                "legion \"failover\", legion-lord: hetzner-failoverip: ip: `x` is not an IP address: \
              write it without spaces, a name or a port"
            ]
        );
    }

    #[test]
    fn an_unknown_action_of_ours_is_a_mistake() {
        let found = findings("hetzner-failover", "");
        assert!(found.mistakes[0].contains("hetzner-failover: unknown action"));
    }

    #[test]
    fn a_warning_names_its_place() {
        let argument = "user=A,pass=B,ip=4.4.4.4,active_ip=1.1.1.1,ssl_no_verify";
        let found = findings("hetzner-failoverip", argument);
        assert!(found.mistakes.is_empty());
        assert!(found.warnings[0].starts_with("legion \"failover\", legion-lord: "));
    }

    #[test]
    fn a_suspension_that_is_missing_or_too_short_is_warned_of() {
        for (seconds, warned) in [(0, 1), (1, 1), (2, 1), (3, 0), (300, 0)] {
            let mut findings = Findings::default();
            findings.check_suspension("failover", seconds);
            assert_eq!(findings.warnings.len(), warned, "{seconds}");
        }
    }

    #[test]
    fn a_quorum_that_is_no_majority_is_warned_of() {
        for (peers, quorum, warned) in [
            (0, 0, 0),
            (2, 2, 0),
            (2, 3, 0),
            (2, 1, 1),
            (2, 0, 1),
            (1, 1, 1),
        ] {
            let mut findings = Findings::default();
            findings.check_quorum("failover", peers, quorum);
            assert_eq!(findings.warnings.len(), warned, "{peers} {quorum}");
        }
    }

    #[test]
    fn a_tolerance_not_above_the_frequency_is_warned_of() {
        for (interval, tolerance, warned) in [(3, 15, 0), (3, 4, 0), (3, 3, 1), (5, 3, 1)] {
            let mut findings = Findings::default();
            findings.check_tolerance(
                Duration::from_secs(interval),
                Duration::from_secs(tolerance),
            );
            assert_eq!(findings.warnings.len(), warned);
        }
    }
}
