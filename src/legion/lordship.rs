//! Notices that a Lord may have been replaced, so that it must be elected and take over again.
//!
//! With uWSGI alone, a node can be Lord while its address is elsewhere, for three reasons:
//!
//! - The node did not run for a while, because the process or the machine was stopped. Its peers
//!   replaced it. When it runs again, it still considers itself Lord; its peers yield to its higher
//!   valor, and no hook is called. So a lordship counts only if its takeover began after the node
//!   last stood still. Any other is forgotten, and uWSGI calls the lord hooks again.
//! - Its peers do not hear it, although it hears them. They follow another Lord, and announce that.
//!   So a lordship is forgotten if all peers follow another Lord for longer than `legion-tolerance`.
//! - The node loses its quorum. uWSGI makes it step down only when it warns of that, and it warns at
//!   most once in 60 s, whatever the last warning was about (core/legion.c,
//!   `legions_check_nodes_step2`). So uWSGI is made to warn at once while the node is Lord.

use std::time::Duration;

use crate::uwsgi::Peer;

/// Why a lordship is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The node did not run for a while.
    StoodStill,
    /// The peers follow another Lord.
    Disowned,
}

/// Whom the peers of a Lord follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Votes {
    /// All of them follow this node, or there are none.
    Agreed,
    /// Some have not voted yet.
    Missing,
    /// Some follow another node.
    Divided,
    /// All of them follow one and the same other node.
    Against,
}

impl Votes {
    /// Counts the votes of `peers` for the node with this uuid.
    pub fn count(ours: [std::ffi::c_char; 36], peers: &[Peer]) -> Votes {
        let others: Vec<_> = peers.iter().filter(|peer| peer.follows != ours).collect();
        let Some(first) = others.first() else {
            return Votes::Agreed;
        };
        let has_voted = |peer: &&Peer| peer.follows != [0; 36];
        match others.iter().all(|peer| peer.follows == first.follows) {
            _ if !others.iter().any(has_voted) => Votes::Missing,
            true if others.len() == peers.len() => Votes::Against,
            true | false => Votes::Divided,
        }
    }
}

/// What is known about the lordship in one legion. Times are since the machine was started.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Lordship {
    /// When the last takeover began.
    takeover: Option<Duration>,
    /// Since when the peers have followed another Lord.
    disowned: Option<Duration>,
    /// When the votes were last forgotten.
    revoted: Option<Duration>,
}

impl Lordship {
    /// A takeover that began then has ended.
    pub fn note_takeover(&mut self, began: Duration) {
        self.takeover = Some(began);
        self.disowned = None;
    }

    /// The votes were forgotten, and the legion votes again.
    pub fn note_revote(&mut self, now: Duration) {
        self.revoted = Some(now);
    }

    /// Whether the votes that elected this node may be older than its last standstill. They are old
    /// until each peer has announced itself again, or was dropped for its silence, which takes `window`
    /// at most.
    ///
    /// A lord hook that is called after one that has just forgotten the votes has none at all:
    /// `is_voted_for`.
    pub fn has_old_votes(
        &self,
        now: Duration,
        standstill: Option<Duration>,
        window: Duration,
        is_voted_for: bool,
    ) -> bool {
        standstill.is_some_and(|standstill| {
            let is_recent = now.saturating_sub(standstill) <= window;
            let has_revoted = self.revoted.is_some_and(|revoted| revoted >= standstill);
            is_recent && !(has_revoted && is_voted_for)
        })
    }

    /// Whether this process has taken over before.
    pub fn has_taken_over(&self) -> bool {
        self.takeover.is_some()
    }

    /// Why the lordship of this node is in doubt, if it is. Called in each of the master's cycles while
    /// the node is Lord.
    pub fn doubt(
        &mut self,
        now: Duration,
        standstill: Option<Duration>,
        votes: Votes,
        tolerance: Duration,
    ) -> Option<Doubt> {
        self.disowned = match votes {
            Votes::Against => self.disowned.or(Some(now)),
            Votes::Agreed | Votes::Missing | Votes::Divided => None,
        };
        // Without a takeover, there is no address that could be elsewhere.
        let stood_still = match (self.takeover, standstill) {
            (Some(began), Some(standstill)) => began < standstill,
            (None, _) | (_, None) => false,
        };
        let is_disowned = self
            .disowned
            .is_some_and(|since| now.saturating_sub(since) >= tolerance);
        let doubt = match (stood_still, is_disowned) {
            (true, _) => Some(Doubt::StoodStill),
            (false, true) => Some(Doubt::Disowned),
            (false, false) => None,
        };
        if doubt.is_some() {
            self.disowned = None;
        }
        doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn peer(follows: std::ffi::c_char) -> Peer {
        Peer {
            valor: 1,
            uuid: [7; 36],
            follows: [follows; 36],
        }
    }

    #[test]
    fn votes_are_counted() {
        for (follows, votes) in [
            (&[][..], Votes::Agreed),
            (&[1, 1], Votes::Agreed),
            (&[1, 0], Votes::Missing),
            (&[0, 0], Votes::Missing),
            (&[1, 2], Votes::Divided),
            (&[2, 3], Votes::Divided),
            (&[0, 2], Votes::Divided),
            (&[2], Votes::Against),
            (&[2, 2], Votes::Against),
        ] {
            let peers: Vec<Peer> = follows.iter().map(|follows| peer(*follows)).collect();
            assert_eq!(Votes::count([1; 36], &peers), votes, "{follows:?}");
        }
    }

    fn doubt(lordship: &mut Lordship, now: u64, standstill: Option<u64>, votes: Votes) -> bool {
        let standstill = standstill.map(at);
        lordship.doubt(at(now), standstill, votes, at(5)).is_some()
    }

    #[test]
    fn a_lord_that_stood_still_since_its_takeover_began_is_doubted() {
        let mut lordship = Lordship::default();
        lordship.note_takeover(at(10));
        assert!(!doubt(&mut lordship, 12, None, Votes::Agreed));
        assert!(!doubt(&mut lordship, 13, Some(9), Votes::Agreed));
        assert!(doubt(&mut lordship, 20, Some(20), Votes::Agreed));
        // Its takeover spans the standstill.
        lordship.note_takeover(at(19));
        assert!(doubt(&mut lordship, 30, Some(20), Votes::Agreed));
        lordship.note_takeover(at(31));
        assert!(!doubt(&mut lordship, 32, Some(20), Votes::Agreed));
    }

    #[test]
    fn a_lord_without_a_takeover_has_nothing_to_make_sure_of() {
        let mut lordship = Lordship::default();
        assert!(!doubt(&mut lordship, 20, Some(20), Votes::Agreed));
    }

    #[test]
    fn a_lord_whose_peers_follow_another_for_long_is_none() {
        let mut lordship = Lordship::default();
        let doubted = [
            (1, Votes::Against),
            (4, Votes::Divided),
            (5, Votes::Against),
            (7, Votes::Against),
            (9, Votes::Against),
            (10, Votes::Against),
        ]
        .map(|(second, votes)| doubt(&mut lordship, second, None, votes));
        assert_eq!(doubted, [false, false, false, false, false, true]);
    }

    #[test]
    fn votes_are_old_after_a_standstill_until_the_legion_has_voted_again() {
        let mut lordship = Lordship::default();
        let is_old = |lordship: &Lordship, now, standstill: Option<u64>, is_voted_for| {
            lordship.has_old_votes(at(now), standstill.map(at), at(6), is_voted_for)
        };
        assert!(!is_old(&lordship, 100, None, true));
        assert!(is_old(&lordship, 106, Some(100), true));
        assert!(!is_old(&lordship, 107, Some(100), true));
        lordship.note_revote(at(101));
        assert!(!is_old(&lordship, 102, Some(100), true));
        assert!(is_old(&lordship, 102, Some(100), false));
        assert!(is_old(&lordship, 104, Some(103), true));
    }
}
