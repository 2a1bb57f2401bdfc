//! The node that failed comes back.
//!
//! After a failed lord hook uWSGI marks the node dead, announces that, and suspends it for
//! `legion-death-on-lord-error` seconds. Nothing in uWSGI clears the mark: after the
//! suspension the node would go on announcing itself as dead, its peers would ignore it for
//! ever, and a legion in which every node failed once would never elect a Lord again
//! (core/legion.c, `legions_check_nodes_step2`). While it is suspended it announces nothing,
//! so that is when the mark can be cleared without anybody noticing.

use crate::uwsgi::Legion;

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

/// Has every suspended legion come back when its suspension ends, and returns those for
/// which that was just seen to. Called about once a second, on the main thread.
///
/// A node that shuts down marks itself dead too, on the same thread, and announces that
/// before anything of ours can run again.
pub fn end_well<L: Suspendable + Copy>(legions: &[L]) -> Vec<L> {
    legions
        .iter()
        .copied()
        .filter(|legion| legion.is_suspended() && legion.revive())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Fake {
        suspended: bool,
        dead: Cell<bool>,
    }

    impl Suspendable for &Fake {
        fn is_suspended(&self) -> bool {
            self.suspended
        }

        fn revive(&self) -> bool {
            self.dead.replace(false)
        }
    }

    fn fake(suspended: bool, dead: bool) -> Fake {
        Fake {
            suspended,
            dead: Cell::new(dead),
        }
    }

    #[test]
    fn a_suspended_node_is_no_longer_dead() {
        let legion = fake(true, true);
        assert_eq!(end_well(&[&legion]).len(), 1);
        assert!(!legion.dead.get());
        assert_eq!(end_well(&[&legion]).len(), 0, "it is said once");
    }

    #[test]
    fn a_node_that_shuts_down_stays_dead() {
        let legion = fake(false, true);
        assert_eq!(end_well(&[&legion]).len(), 0);
        assert!(legion.dead.get());
    }
}
