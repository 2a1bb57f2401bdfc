//! A Lord that was cut off from its legion makes sure that it still is one.
//!
//! Two ways lead to a Lord whose failover IP is elsewhere, with uWSGI alone:
//!
//! - The node does not run for a while (it is stopped, or the machine is). Its peers replace
//!   it. When it runs again it still thinks that it is the Lord; its peers yield to its higher
//!   valor, and no hook is called. So a lordship counts only if its takeover began after the
//!   node last stood still; any other is forgotten, and uWSGI calls the lord hooks again.
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

/// What is known of the past, in time since the machine was started.
struct Past<L> {
    last_cycle: Option<Duration>,
    /// When a standstill was last noticed.
    standstill: Option<Duration>,
    /// When each legion's last takeover began.
    takeovers: Vec<(L, Duration)>,
}

static PAST: Mutex<Past<Legion>> = Mutex::new(Past::new());

/// A legion, as its lordship needs it.
pub trait Lordly {
    fn is_lord(&self) -> bool;
    fn forget_lordship(&self);
    fn warn_at_once(&self);
}

impl Lordly for Legion {
    fn is_lord(&self) -> bool {
        Legion::is_lord(self)
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
/// about once a second, on the main thread.
pub fn keep_honest(legions: &[Legion]) -> Vec<Legion> {
    let mut past = PAST.lock().unwrap_or_else(PoisonError::into_inner);
    // A peer may have heard this node last one announcement before it stood still.
    let standstill = boot::tolerance()
        .saturating_sub(boot::announce_interval())
        .max(LEAST_STANDSTILL)
        .max(2 * boot::cycle_interval());
    past.keep_honest(legions, uwsgi::uptime(), standstill)
}

impl<L: Lordly + Copy + PartialEq> Past<L> {
    const fn new() -> Past<L> {
        Past {
            last_cycle: None,
            standstill: None,
            takeovers: Vec::new(),
        }
    }

    fn note_takeover(&mut self, legion: L, began: Duration) {
        self.takeovers.retain(|(other, _)| *other != legion);
        self.takeovers.push((legion, began));
    }

    fn keep_honest(&mut self, legions: &[L], now: Duration, standstill: Duration) -> Vec<L> {
        if self
            .last_cycle
            .is_some_and(|last| now.saturating_sub(last) >= standstill)
        {
            self.standstill = Some(now);
        }
        self.last_cycle = Some(now);
        let lords = legions.iter().copied().filter(L::is_lord);
        let (doubtful, trusted): (Vec<L>, Vec<L>) =
            lords.partition(|legion| self.is_doubtful(legion));
        for legion in trusted {
            legion.warn_at_once();
        }
        for legion in &doubtful {
            legion.forget_lordship();
        }
        doubtful
    }

    /// Whether the legion's last takeover began before the last standstill ended. Without a
    /// takeover there is nothing to make sure of.
    fn is_doubtful(&self, legion: &L) -> bool {
        let takeover = self.takeovers.iter().find(|(other, _)| other == legion);
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

    /// Runs cycles at these times; the legion's takeover began at 10.
    fn forgotten(cycles: &[u64]) -> Vec<u64> {
        let legion = Fake::default();
        let mut past = Past::new();
        past.note_takeover(&legion, at(10));
        legion.lord.set(true);
        let mut forgotten = Vec::new();
        for &cycle in cycles {
            if !past.keep_honest(&[&legion], at(cycle), at(4)).is_empty() {
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
        past.keep_honest(&[&legion], at(11), at(4));
        past.keep_honest(&[&legion], at(30), at(4));
        past.note_takeover(&legion, at(10));
        legion.lord.set(true);
        assert_eq!(past.keep_honest(&[&legion], at(31), at(4)).len(), 1);
        past.note_takeover(&legion, at(32));
        legion.lord.set(true);
        assert_eq!(past.keep_honest(&[&legion], at(33), at(4)).len(), 0);
    }

    #[test]
    fn a_lord_without_a_takeover_has_nothing_to_make_sure_of() {
        let legion = Fake::default();
        legion.lord.set(true);
        let mut past = Past::new();
        for cycle in [1, 20] {
            assert_eq!(past.keep_honest(&[&legion], at(cycle), at(4)).len(), 0);
        }
    }

    #[test]
    fn only_a_lord_is_due_a_warning() {
        let (lord, other) = (Fake::default(), Fake::default());
        lord.lord.set(true);
        Past::new().keep_honest(&[&lord, &other], at(1), at(4));
        assert!(lord.due.get() && !other.due.get());
    }
}
