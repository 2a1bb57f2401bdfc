//! The orphaned workers of a server that was killed.

use std::thread;
use std::time::{Duration, Instant};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes orphans children of this process instead of init, which does not reap them in every
/// container.
pub fn adopt() {
    // SAFETY: it only sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Waits until all children are gone. They have been killed, and no other thread waits for one.
pub fn wait() {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            // Some are alive, and no event with a time limit reports their end.
            0 => thread::sleep(Duration::from_millis(10)),
            // No children are left.
            -1 => return,
            _ => {}
        }
    }
}
