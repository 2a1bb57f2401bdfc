//! The node that failed comes back.
//!
//! After a failed lord hook uWSGI marks the node dead, announces that, and suspends it for
//! `legion-death-on-lord-error` seconds. Nothing in uWSGI clears the mark: after the
//! suspension the node would go on announcing itself as dead, its peers would ignore it for
//! ever, and a legion in which every node failed once would never elect a Lord again
//! (core/legion.c, `legions_check_nodes_step2`). While it is suspended it announces nothing,
//! so that is when the mark can be cleared without anybody noticing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::uwsgi::{self, Legion};

/// A node that is found dead is announcing that just now; after this long it has.
const ANNOUNCED: Duration = Duration::from_secs(2);

/// The legions whose takeover failed here, and when, in time since the machine was started.
static FAILED: Mutex<Vec<(Legion, Duration)>> = Mutex::new(Vec::new());

/// A legion, as its suspension needs it.
pub trait Suspendable {
    fn is_suspended(&self) -> bool;
    fn revive(&self) -> bool;
}

impl Suspendable for Legion {
    fn is_suspended(&self) -> bool {
        Legion::is_suspended(self)
    }

    fn revive(&self) -> bool {
        Legion::revive(self)
    }
}

/// A takeover has failed just now.
pub fn note_failure(legion: Legion) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    failed.push((legion, uwsgi::uptime()));
}

/// Has every suspended legion come back when its suspension ends, and returns those for
/// which that was just seen to. Called in each of the master's cycles, on the main thread.
///
/// A node that shuts down marks itself dead, too, when it is told to and again at its very
/// end: after that nothing of ours runs.
pub fn end_well(legions: &[Legion]) -> Vec<Legion> {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    revive(legions, &mut failed, uwsgi::uptime())
}

/// A suspension may be over before it is seen: so a legion whose takeover has just failed is
/// revived as well when it is still dead a little later.
fn revive<L: Suspendable + Copy + PartialEq>(
    legions: &[L],
    failed: &mut Vec<(L, Duration)>,
    now: Duration,
) -> Vec<L> {
    let settled = |since: &Duration| now.saturating_sub(*since) >= ANNOUNCED;
    let mut revived = Vec::new();
    for &legion in legions {
        let has_failed = failed
            .iter()
            .any(|(other, since)| *other == legion && settled(since));
        if (legion.is_suspended() || has_failed) && legion.revive() {
            revived.push(legion);
        }
    }
    // One that was not dead by then is not going to be, but for a shutdown.
    failed.retain(|(_, since)| !settled(since));
    revived
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Fake {
        suspended: Cell<bool>,
        dead: Cell<bool>,
    }

    impl PartialEq for Fake {
        fn eq(&self, other: &Fake) -> bool {
            std::ptr::eq(self, other)
        }
    }

    impl Suspendable for &Fake {
        fn is_suspended(&self) -> bool {
            self.suspended.get()
        }

        fn revive(&self) -> bool {
            self.dead.replace(false)
        }
    }

    fn fake(suspended: bool, dead: bool) -> Fake {
        Fake {
            suspended: Cell::new(suspended),
            dead: Cell::new(dead),
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_suspended_node_is_no_longer_dead() {
        let legion = fake(true, true);
        let mut failed = vec![(&legion, at(10))];
        assert_eq!(revive(&[&legion], &mut failed, at(10)).len(), 1);
        assert!(!legion.dead.get());
        assert_eq!(
            revive(&[&legion], &mut failed, at(11)).len(),
            0,
            "it is said once"
        );
    }

    #[test]
    fn a_suspension_that_nobody_saw_ends_well_too() {
        let legion = fake(false, true);
        let mut failed = vec![(&legion, at(10))];
        // It may just be announcing its death.
        assert_eq!(revive(&[&legion], &mut failed, at(11)).len(), 0);
        assert_eq!(revive(&[&legion], &mut failed, at(12)).len(), 1);
        assert!(!legion.dead.get() && failed.is_empty());
    }

    #[test]
    fn a_node_that_shuts_down_stays_dead() {
        let legion = fake(false, false);
        let mut failed = vec![(&legion, at(10))];
        revive(&[&legion], &mut failed, at(12));
        legion.dead.set(true);
        for second in 13..20 {
            assert_eq!(revive(&[&legion], &mut failed, at(second)).len(), 0);
        }
        assert!(legion.dead.get());
    }
}
