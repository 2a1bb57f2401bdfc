//! A Lord that was cut off from its legion makes sure that it still is one.
//!
//! Three ways lead to a Lord whose failover IP is elsewhere, with uWSGI alone:
//!
//! - The node does not run for a while (it is stopped, or the machine is). Its peers replace
//!   it. When it runs again it still thinks that it is the Lord; its peers yield to its higher
//!   valor, and no hook is called. So a lordship counts only if its takeover began after the
//!   node last stood still; any other is forgotten, and uWSGI calls the lord hooks again.
//! - Its peers do not hear it, while it hears them. They follow another Lord, and say so. So
//!   a Lord whose peers all follow another for longer than `legion-tolerance` is none.
//! - The node loses its quorum. It then steps down only where it warns, and it warns once in
//!   60 s, for whatever reason it did before (core/legion.c, `legions_check_nodes_step2`). So
//!   a Lord is always due a warning.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::boot;
use crate::uwsgi::{self, Legion};

/// A master runs its cycle about once a second, unless told otherwise; less than this is no
/// standstill.
const LEAST_STANDSTILL: Duration = Duration::from_secs(2);

/// Why a lordship is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The node did not run for a while.
    StoodStill,
    /// The peers follow another Lord.
    Disowned,
}

/// How long what takes.
struct Patience {
    /// As long as this between two cycles is a standstill.
    standstill: Duration,
    /// For as long as this the peers must follow another Lord.
    disowned: Duration,
}

/// What is known of the past, in time since the machine was started.
struct Past<L> {
    last_cycle: Option<Duration>,
    /// When a standstill was last noticed.
    standstill: Option<Duration>,
    /// When each legion's last takeover began.
    takeovers: Vec<(L, Duration)>,
    /// Since when the peers of each legion have followed another Lord.
    disowned: Vec<(L, Duration)>,
}

static PAST: Mutex<Past<Legion>> = Mutex::new(Past::new());

/// A legion, as its lordship needs it.
pub trait Lordly {
    fn is_lord(&self) -> bool;
    fn is_disowned(&self) -> bool;
    fn forget_lordship(&self);
    fn warn_at_once(&self);
}

impl Lordly for Legion {
    fn is_lord(&self) -> bool {
        Legion::is_lord(self)
    }

    fn is_disowned(&self) -> bool {
        Legion::is_disowned(self)
    }

    fn forget_lordship(&self) {
        Legion::forget_lordship(self);
    }

    fn warn_at_once(&self) {
        Legion::warn_at_once(self);
    }
}

/// A takeover that began then has ended.
pub fn note_takeover(legion: Legion, began: Duration) {
    let mut past = PAST.lock().unwrap_or_else(PoisonError::into_inner);
    past.note_takeover(legion, began);
}

/// Has Lords that cannot be trusted become Lord again, and returns their legions. Called
/// in each of the master's cycles, on the main thread.
pub fn keep_honest(legions: &[Legion]) -> Vec<(Legion, Doubt)> {
    let mut past = PAST.lock().unwrap_or_else(PoisonError::into_inner);
    let patience = Patience {
        // A peer may have heard this node last one announcement before it stood still.
        standstill: boot::tolerance()
            .saturating_sub(boot::announce_interval())
            .max(LEAST_STANDSTILL)
            .max(2 * boot::cycle_interval()),
        disowned: boot::tolerance(),
    };
    past.keep_honest(legions, uwsgi::uptime(), &patience)
}

impl<L: Lordly + Copy + PartialEq> Past<L> {
    const fn new() -> Past<L> {
        Past {
            last_cycle: None,
            standstill: None,
            takeovers: Vec::new(),
            disowned: Vec::new(),
        }
    }

    fn note_takeover(&mut self, legion: L, began: Duration) {
        self.takeovers.retain(|(other, _)| *other != legion);
        self.takeovers.push((legion, began));
    }

    fn keep_honest(
        &mut self,
        legions: &[L],
        now: Duration,
        patience: &Patience,
    ) -> Vec<(L, Doubt)> {
        let spent = |since: Duration| now.saturating_sub(since);
        if self
            .last_cycle
            .is_some_and(|last| spent(last) >= patience.standstill)
        {
            self.standstill = Some(now);
        }
        self.last_cycle = Some(now);
        let mut doubts = Vec::new();
        for &legion in legions.iter().filter(|legion| legion.is_lord()) {
            self.note_peers(legion, now);
            let doubt = match self.disowned_since(legion) {
                _ if self.has_stood_still(legion) => Some(Doubt::StoodStill),
                Some(since) if spent(since) >= patience.disowned => Some(Doubt::Disowned),
                Some(_) | None => None,
            };
            match doubt {
                Some(doubt) => {
                    legion.forget_lordship();
                    self.disowned.retain(|(other, _)| *other != legion);
                    doubts.push((legion, doubt));
                }
                None => legion.warn_at_once(),
            }
        }
        doubts
    }

    fn note_peers(&mut self, legion: L, now: Duration) {
        match (legion.is_disowned(), self.disowned_since(legion)) {
            (true, None) => self.disowned.push((legion, now)),
            (false, Some(_)) => self.disowned.retain(|(other, _)| *other != legion),
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn disowned_since(&self, legion: L) -> Option<Duration> {
        let found = self.disowned.iter().find(|(other, _)| *other == legion);
        found.map(|(_, since)| *since)
    }

    /// Whether the legion's last takeover began before the last standstill ended. Without a
    /// takeover there is nothing to make sure of.
    fn has_stood_still(&self, legion: L) -> bool {
        let takeover = self.takeovers.iter().find(|(other, _)| *other == legion);
        match (takeover, self.standstill) {
            (Some((_, began)), Some(standstill)) => *began < standstill,
            (None, _) | (_, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[derive(Default)]
    struct Fake {
        lord: Cell<bool>,
        disowned: Cell<bool>,
        due: Cell<bool>,
    }

    impl PartialEq for Fake {
        fn eq(&self, other: &Fake) -> bool {
            std::ptr::eq(self, other)
        }
    }

    impl Lordly for &Fake {
        fn is_lord(&self) -> bool {
            self.lord.get()
        }

        fn is_disowned(&self) -> bool {
            self.disowned.get()
        }

        fn forget_lordship(&self) {
            self.lord.set(false);
        }

        fn warn_at_once(&self) {
            self.due.set(true);
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const PATIENCE: Patience = Patience {
        standstill: at(4),
        disowned: at(5),
    };

    /// Runs cycles at these times; the legion's takeover began at 10.
    fn forgotten(cycles: &[u64]) -> Vec<u64> {
        let legion = Fake::default();
        let mut past = Past::new();
        past.note_takeover(&legion, at(10));
        legion.lord.set(true);
        let mut forgotten = Vec::new();
        for &cycle in cycles {
            if !past
                .keep_honest(&[&legion], at(cycle), &PATIENCE)
                .is_empty()
            {
                assert!(!legion.lord.get());
                forgotten.push(cycle);
            }
        }
        forgotten
    }

    #[test]
    fn a_lord_that_runs_is_trusted() {
        assert!(forgotten(&[11, 12, 15, 16]).is_empty());
    }

    #[test]
    fn a_lord_that_stood_still_is_forgotten_once() {
        assert_eq!(forgotten(&[11, 12, 16, 17, 18]), [16]);
    }

    #[test]
    fn a_takeover_that_spans_a_standstill_is_doubtful_when_it_ends() {
        let legion = Fake::default();
        let mut past = Past::new();
        past.keep_honest(&[&legion], at(11), &PATIENCE);
        past.keep_honest(&[&legion], at(30), &PATIENCE);
        past.note_takeover(&legion, at(10));
        legion.lord.set(true);
        assert_eq!(past.keep_honest(&[&legion], at(31), &PATIENCE).len(), 1);
        past.note_takeover(&legion, at(32));
        legion.lord.set(true);
        assert_eq!(past.keep_honest(&[&legion], at(33), &PATIENCE).len(), 0);
    }

    #[test]
    fn a_lord_without_a_takeover_has_nothing_to_make_sure_of() {
        let legion = Fake::default();
        legion.lord.set(true);
        let mut past = Past::new();
        for cycle in [1, 20] {
            assert_eq!(past.keep_honest(&[&legion], at(cycle), &PATIENCE).len(), 0);
        }
    }

    #[test]
    fn a_lord_whose_peers_follow_another_for_long_is_none() {
        let legion = Fake::default();
        let mut past = Past::new();
        legion.lord.set(true);
        let forgotten = [
            (1, true),
            (4, false),
            (5, true),
            (7, true),
            (9, true),
            (10, true),
        ]
        .map(|(second, disowned)| {
            legion.disowned.set(disowned);
            past.keep_honest(&[&legion], at(second), &PATIENCE).len()
        });
        assert_eq!(forgotten, [0, 0, 0, 0, 0, 1]);
        assert!(!legion.lord.get());
    }

    #[test]
    fn only_a_lord_is_due_a_warning() {
        let (lord, other) = (Fake::default(), Fake::default());
        lord.lord.set(true);
        Past::new().keep_honest(&[&lord, &other], at(1), &PATIENCE);
        assert!(lord.due.get() && !other.due.get());
    }
}
