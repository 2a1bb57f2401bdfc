//! What a forked process must not inherit.
//!
//! uWSGI's workers are forked from the master and run other people's code. A worker that is
//! respawned during a takeover gets a copy of all that the master has open, and
//! close-on-exec does not help, since nothing is executed.

use std::os::fd::RawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::confidential;

const FREE: i32 = -1;

/// The file descriptors to close in a child. A process has two takeovers at the most, one on
/// the legion thread and one on the main thread, each with two connections if there is a proxy.
static OPEN: [AtomicI32; 8] = [const { AtomicI32::new(FREE) }; 8];

/// While it lives, this file descriptor is closed in every child that is forked.
#[derive(Debug)]
pub struct Uninherited(Option<&'static AtomicI32>);

impl Uninherited {
    pub fn new(fd: RawFd) -> Uninherited {
        watch();
        let slot = OPEN.iter().find(|slot| {
            slot.compare_exchange(FREE, fd, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        });
        Uninherited(slot)
    }
}

/// Has forked processes be rid of what they must not have, from now on.
pub fn watch() {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: the handler stays valid, as the plugin is never unloaded, and does
        // nothing but what is allowed after a fork.
        unsafe { libc::pthread_atfork(None, None, Some(close_all)) };
    });
}

impl Drop for Uninherited {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(FREE, Ordering::Relaxed);
        }
    }
}

/// Runs in the child, on the only thread it has.
unsafe extern "C" fn close_all() {
    confidential::keep_stacks();
    for slot in &OPEN {
        let fd = slot.swap(FREE, Ordering::Relaxed);
        if fd != FREE {
            // SAFETY: the child's own copy of a connection that only the takeover's thread
            // uses, which the child does not have.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_child_does_not_have_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let _uninherited = Uninherited::new(ours.as_raw_fd());
        // SAFETY: the child does nothing but wait for its end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: both are allowed after a fork.
            unsafe {
                libc::pause();
                libc::_exit(0);
            }
        }
        // Were it open in the child, there would be no end to read.
        drop(ours);
        let end = theirs.read(&mut [0]);
        // SAFETY: our own child.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        assert_eq!(end.unwrap(), 0);
    }
}
