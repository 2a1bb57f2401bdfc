//! Mistakes in a legion's configuration, most of which lead to a legion that never elects a Lord.

use std::net::{Ipv4Addr, ToSocketAddrs};
use std::time::Duration;

use super::Findings;
use crate::legion::standing::{LEAST_CONFIGURED, MOST};
use crate::text::printable;
use crate::uwsgi::settings::death_on_lord_error;
use crate::uwsgi::{Hook, Legion, PeerAddress, legacy_cipher};

const MOST_PLUS_ONE: u64 = MOST + 1;
/// `check-interval` by default.
const DEFAULT_CYCLE: Duration = Duration::from_secs(1);
/// The shortest sensible suspension, in seconds: the others have to agree on another Lord.
const LEAST_SUSPENSION: u64 = 3;

/// What is wrong with an address that uWSGI's announcements cannot be sent to.
const NOT_IPV4: &str = "uWSGI's Legion sends its announcements over IPv4 only, so no peer would ever \
                        be heard; write an IPv4 address";
const NOT_RESOLVED: &str = "this name has no IPv4 address now, so announcements cannot be sent there; \
                            write an IPv4 address";

impl Findings {
    pub(crate) fn check_valor(&mut self, legion: &str, valor: u64) {
        match valor {
            1..LEAST_CONFIGURED => self.warnings.push(format!(
                "legion \"{legion}\": the valor of this node ({valor}) is below {LEAST_CONFIGURED}: \
                 after a failed takeover it can only step back by falling silent, and then does not \
                 vote; configure valors from {LEAST_CONFIGURED} on"
            )),
            MOST_PLUS_ONE.. => self.mistakes.push(format!(
                "legion \"{legion}\": the valor of this node ({valor}) is above {MOST}, which uWSGI's \
                 peers cannot store: such a legion never elects a Lord; configure a valor from \
                 {LEAST_CONFIGURED} to {MOST}"
            )),
            0 | LEAST_CONFIGURED..=MOST => {}
        }
    }

    /// An option that works by changing the valor needs room below it.
    pub(super) fn check_effect(&mut self, option: &str, legion: &str, valor: u64) {
        if (1..LEAST_CONFIGURED).contains(&valor) {
            self.warnings.push(format!(
                "legion \"{legion}\": {option} has no effect, because the valor of this node \
                 ({valor}) is below {LEAST_CONFIGURED}"
            ));
        }
    }

    pub(super) fn check_election(&mut self, legion: Legion, ours: &[Hook]) {
        let name = legion.name();
        let (peers, quorum) = legion.electorate();
        let addresses = legion.peer_addresses();
        // Behind a multicast address there are any number of peers.
        if !addresses.iter().any(|peer| peer.resolved.is_multicast()) {
            self.check_quorum(&name, peers, quorum);
        }
        self.check_own_address(&name, &legion.address());
        for peer in &addresses {
            self.check_peer_address(&name, peer);
        }
        self.check_valor(&name, legion.valor());
        self.check_cipher(&name, legion);
        let is_lord_hook = ours.iter().any(|hook| hook.event == "lord");
        if is_lord_hook {
            self.check_suspension(
                &name,
                death_on_lord_error().map_or(0, |span| span.as_secs()),
            );
        }
    }

    pub(crate) fn check_cipher(&mut self, name: &str, legion: Legion) {
        if let Some(cipher) = legacy_cipher::aead_name(legion.cipher_context()) {
            self.mistakes.push(format!(
                "legion \"{name}\": its cipher {cipher} is an AEAD cipher, with which uWSGI cannot \
                 encrypt its announcements, so no peer ever hears another; use aes-256-cbc"
            ));
        }
    }

    pub(crate) fn check_own_address(&mut self, legion: &str, address: &str) {
        let reason = match address.rsplit_once(':') {
            // uWSGI itself reports an address without a port, and a multicast one has none.
            None => return,
            Some((host, _)) if host.contains([':', '[']) => NOT_IPV4,
            Some((host, _)) if resolves(host) => return,
            Some(_) => NOT_RESOLVED,
        };
        self.refuse_address(legion, "legion", address, reason);
    }

    pub(crate) fn check_peer_address(&mut self, legion: &str, peer: &PeerAddress) {
        // uWSGI's mark for a name that it could not resolve (core/socket.c, `socket_to_in_addr`).
        if peer.resolved != Ipv4Addr::BROADCAST {
            return;
        }
        let host = peer.text.rsplit_once(':').map_or("", |(host, _)| host);
        let reason = match host.contains([':', '[']) {
            true => NOT_IPV4,
            false => NOT_RESOLVED,
        };
        self.refuse_address(legion, "legion-node", &peer.text, reason);
    }

    fn refuse_address(&mut self, legion: &str, option: &str, address: &str, reason: &str) {
        self.mistakes.push(format!(
            "legion \"{legion}\", {option}: {}: {reason}",
            printable(address.as_bytes())
        ));
    }

    pub(crate) fn check_suspension(&mut self, legion: &str, seconds: u64) {
        match seconds {
            0 => self.warnings.push(format!(
                "legion \"{legion}\": legion-death-on-lord-error is not set: a node whose takeover \
                 failed steps back for 60 s only, and uWSGI logs that it is Lord; set it to 300"
            )),
            1..LEAST_SUSPENSION => self.warnings.push(format!(
                "legion \"{legion}\": legion-death-on-lord-error ({seconds} s) is too short for the \
                 other nodes to take over meanwhile; set it to 300"
            )),
            LEAST_SUSPENSION.. => {}
        }
    }

    pub(crate) fn check_quorum(&mut self, legion: &str, peers: usize, quorum: i32) {
        let nodes = peers + 1;
        let majority = nodes / 2 + 1;
        let quorum_nodes = usize::try_from(quorum).unwrap_or(0);
        if quorum_nodes > nodes {
            // A node that is not listed here may announce itself nevertheless.
            self.warnings.push(format!(
                "legion \"{legion}\": legion-quorum ({quorum}) is more than the nodes that are listed \
                 here ({nodes}), so no Lord is elected: set it to {majority}, or add the missing \
                 legion-node lines"
            ));
        } else if peers > 0 && quorum_nodes < majority {
            self.warnings.push(format!(
                "legion \"{legion}\": legion-quorum ({quorum}) is not a majority of its {nodes} \
                 nodes: an isolated node takes the IP from the others; set it to {majority}"
            ));
        }
    }

    pub(crate) fn check_tolerance(&mut self, interval: Duration, tolerance: Duration) {
        if tolerance <= interval {
            self.warnings.push(format!(
                "legion-tolerance ({} s) is not above legion-freq ({} s): nodes drop each other \
                 between two announcements; set it to at least 3 x legion-freq",
                tolerance.as_secs(),
                interval.as_secs()
            ));
        }
    }

    /// A pause is noticed by the master's cycles, so they must be shorter than what peers tolerate.
    pub(super) fn check_cycle(&mut self, cycle: Duration, interval: Duration, tolerance: Duration) {
        if 2 * cycle > tolerance.saturating_sub(interval).max(2 * DEFAULT_CYCLE) {
            self.warnings.push(format!(
                "check-interval ({} s) is too long for legion-tolerance ({} s): a pause of this node \
                 may not be noticed; set it to 1",
                cycle.as_secs(),
                tolerance.as_secs()
            ));
        }
    }
}

/// Whether a host is an IPv4 address, or a name that has one. An empty one means all addresses.
fn resolves(host: &str) -> bool {
    if host.is_empty() || host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let found = (host, 0).to_socket_addrs();
    found.is_ok_and(|mut found| found.any(|address| address.is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(check: impl FnOnce(&mut Findings)) -> String {
        let mut findings = Findings::default();
        check(&mut findings);
        findings.mistakes.join("\n")
    }

    #[test]
    fn an_address_that_announcements_cannot_be_sent_to_is_a_mistake() {
        let own = |address: &str| mistakes(|found| found.check_own_address("failover", address));
        for good in ["127.0.0.1:2000", ":2000", "0.0.0.0:2000", "225.1.1.1"] {
            assert_eq!(own(good), "", "{good}");
        }
        assert!(own("[2a01:4f8::1]:2000").contains("IPv4 only"));
        let peer = |text: &str, resolved| {
            let peer = PeerAddress {
                text: text.into(),
                resolved,
            };
            mistakes(|found| found.check_peer_address("failover", &peer))
        };
        assert_eq!(peer("2.2.2.2:2000", Ipv4Addr::new(2, 2, 2, 2)), "");
        let unresolved = peer("node2.invalid:2000", Ipv4Addr::BROADCAST);
        assert!(
            unresolved.starts_with("legion \"failover\", legion-node: node2.invalid:2000: "),
            "{unresolved}"
        );
        assert!(peer("[2a01:4f8::2]:2000", Ipv4Addr::BROADCAST).contains("IPv4 only"));
    }

    #[test]
    fn a_valor_that_peers_cannot_store_is_a_mistake() {
        for (valor, is_mistake, is_warning) in [
            (0, false, false),
            (1, false, true),
            (999, false, true),
            (1000, false, false),
            (65_535, false, false),
            (65_536, true, false),
            (70_000, true, false),
        ] {
            let mut findings = Findings::default();
            findings.check_valor("failover", valor);
            let found = (!findings.mistakes.is_empty(), !findings.warnings.is_empty());
            assert_eq!(found, (is_mistake, is_warning), "{valor}");
        }
    }

    #[test]
    fn an_option_without_effect_is_warned_of() {
        for (valor, warned) in [(0, 0), (1, 1), (999, 1), (1000, 0), (65_535, 0)] {
            let mut findings = Findings::default();
            findings.check_effect("hetzner-health", "failover", valor);
            assert_eq!(findings.warnings.len(), warned, "{valor}");
        }
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
    fn a_quorum_that_is_no_majority_or_cannot_be_reached_is_warned_of() {
        for (peers, quorum, warned) in [
            (0, 0, 0),
            (2, 2, 0),
            (2, 3, 0),
            (2, 4, 1),
            (0, 1, 0),
            (0, 2, 1),
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

    #[test]
    fn a_master_that_cycles_too_seldom_is_warned_of() {
        for (cycle, interval, tolerance, warned) in [
            (1, 3, 15, 0),
            (6, 3, 15, 0),
            (7, 3, 15, 1),
            (12, 3, 15, 1),
            (1, 1, 2, 0),
            (1, 1, 5, 0),
            (3, 1, 5, 1),
        ] {
            let mut findings = Findings::default();
            let [cycle, interval, tolerance] =
                [cycle, interval, tolerance].map(Duration::from_secs);
            findings.check_cycle(cycle, interval, tolerance);
            assert_eq!(findings.warnings.len(), warned, "{cycle:?} {tolerance:?}");
        }
    }
}
