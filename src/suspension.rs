//! The node that failed comes back.
//!
//! After a failed lord hook uWSGI marks the node dead, announces that, and suspends it for
//! `legion-death-on-lord-error` seconds. Nothing in uWSGI clears the mark: after the
//! suspension the node would go on announcing itself as dead, its peers would ignore it for
//! ever, and a legion in which every node failed once would never elect a Lord again
//! (core/legion.c, `legions_check_nodes_step2`). While it is suspended it announces nothing,
//! so that is when the mark can be cleared without anybody noticing.

use std::sync::{Mutex, PoisonError};

use crate::uwsgi::Legion;

/// The legions whose takeover failed here, and whether they were dead in the last cycle.
static FAILED: Mutex<Vec<(Legion, bool)>> = Mutex::new(Vec::new());

/// A legion, as its suspension needs it.
pub trait Suspendable {
    fn is_suspended(&self) -> bool;
    fn is_dead(&self) -> bool;
    fn revive(&self) -> bool;
}

impl Suspendable for Legion {
    fn is_suspended(&self) -> bool {
        Legion::is_suspended(self)
    }

    fn is_dead(&self) -> bool {
        Legion::is_dead(self)
    }

    fn revive(&self) -> bool {
        Legion::revive(self)
    }
}

/// A takeover has ended.
pub fn note_takeover(legion: Legion, succeeded: bool) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    failed.retain(|(other, _)| *other != legion);
    if !succeeded {
        failed.push((legion, false));
    }
}

/// Has every suspended legion come back when its suspension ends, and returns those for
/// which that was just seen to. Called about once a second, on the main thread.
///
/// A node that shuts down marks itself dead too, on the same thread, and announces that
/// before anything of ours can run again.
pub fn end_well(legions: &[Legion]) -> Vec<Legion> {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    revive(legions, &mut failed)
}

/// A suspension may be over before it is seen: so a legion whose takeover failed is revived
/// as well when it is found dead twice.
fn revive<L: Suspendable + Copy + PartialEq>(legions: &[L], failed: &mut Vec<(L, bool)>) -> Vec<L> {
    let mut revived = Vec::new();
    for &legion in legions {
        let was_dead = failed.contains(&(legion, true));
        if (legion.is_suspended() || was_dead) && legion.revive() {
            failed.retain(|(other, _)| *other != legion);
            revived.push(legion);
        }
    }
    for (legion, was_dead) in failed {
        *was_dead = legion.is_dead();
    }
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

        fn is_dead(&self) -> bool {
            self.dead.get()
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

    #[test]
    fn a_suspended_node_is_no_longer_dead() {
        let legion = fake(true, true);
        let mut failed = vec![(&legion, false)];
        assert_eq!(revive(&[&legion], &mut failed).len(), 1);
        assert!(!legion.dead.get());
        assert_eq!(revive(&[&legion], &mut failed).len(), 0, "it is said once");
    }

    #[test]
    fn a_suspension_that_nobody_saw_ends_well_too() {
        let legion = fake(false, true);
        let mut failed = vec![(&legion, false)];
        // It may just be announcing its death.
        assert_eq!(revive(&[&legion], &mut failed).len(), 0);
        assert_eq!(revive(&[&legion], &mut failed).len(), 1);
        assert!(!legion.dead.get() && failed.is_empty());
    }

    #[test]
    fn a_node_that_shuts_down_stays_dead() {
        let legion = fake(false, true);
        for _ in 0..3 {
            assert_eq!(revive(&[&legion], &mut Vec::new()).len(), 0);
        }
        assert!(legion.dead.get());
    }
}
