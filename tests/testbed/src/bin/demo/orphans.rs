//! The workers of a server that was killed: orphans, which are ours to look after.

use std::thread;
use std::time::{Duration, Instant};

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Has orphans become this process's children, and not init's, which does not care in every
/// container.
pub fn adopt() {
    // SAFETY: it only sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Waits until all children are gone. They have been killed, and nobody else waits for one.
pub fn wait() {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            // Some live, and there is no event to wait for with a time limit.
            0 => thread::sleep(Duration::from_millis(10)),
            // There are none.
            -1 => return,
            _ => {}
        }
    }
}
