//! Closes in forked processes what they must not inherit.
//!
//! uWSGI's workers are forked from the master and run other people's code. A worker that is
//! respawned during a takeover gets a copy of every open descriptor of the master, and close-on-exec
//! does not help, because nothing is executed.
//!
//! There is no lock around `fork`: a process that is forked in the microseconds between opening a
//! socket and registering it, or between unregistering and closing it, inherits that socket. With
//! `https://` only ciphertext crosses it, and its keys are not inherited.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

use super::MAX_THREADS;
use super::memory::unprotect_stacks;
use super::shortfall::note_shortfall;

const FREE: i32 = -1;

/// The sockets to close in a child: for each thread the connection in use, and one that is idle.
static OPEN: [AtomicI32; 2 * MAX_THREADS] = [const { AtomicI32::new(FREE) }; 2 * MAX_THREADS];

/// A socket that is closed in every process that is forked while it is open. Not for files: closing
/// one may hang, and `fork` with it.
#[derive(Debug)]
pub struct Uninherited<T: AsRawFd> {
    open: ManuallyDrop<T>,
    slot: Option<&'static AtomicI32>,
}

impl<T: AsRawFd> Uninherited<T> {
    pub fn new(open: T) -> Uninherited<T> {
        close_in_children();
        let fd = open.as_raw_fd();
        let slot = OPEN.iter().find(|slot| {
            slot.compare_exchange(FREE, fd, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        });
        if slot.is_none() {
            note_shortfall();
        }
        Uninherited {
            open: ManuallyDrop::new(open),
            slot,
        }
    }
}

impl<T: AsRawFd> Deref for Uninherited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.open
    }
}

impl<T: AsRawFd> DerefMut for Uninherited<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.open
    }
}

impl<T: AsRawFd> Drop for Uninherited<T> {
    fn drop(&mut self) {
        // In this order: a child must not close a descriptor that was given to something else.
        if let Some(slot) = self.slot {
            slot.store(FREE, Ordering::Relaxed);
        }
        // SAFETY: this is the only place where it is dropped, and it is not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.open) };
    }
}

/// Makes forked processes close what they must not inherit, from now on.
pub fn close_in_children() {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: the handler stays valid, because the plugin is never unloaded, and it does only
        // what is allowed after a fork.
        if unsafe { libc::pthread_atfork(None, None, Some(in_child)) } != 0 {
            note_shortfall();
        }
    });
}

/// Runs in the child, on its only thread, which is the one that forked.
unsafe extern "C" fn in_child() {
    unprotect_stacks();
    for slot in &OPEN {
        let fd = slot.swap(FREE, Ordering::Relaxed);
        if fd != FREE {
            // SAFETY: the child's own copy of a descriptor that only the thread of a takeover
            // uses, and the child does not have that thread.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_child_does_not_have_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = Uninherited::new(ours);
        // SAFETY: the child only waits for its end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: both are allowed after a fork.
            unsafe {
                libc::pause();
                libc::_exit(0);
            }
        }
        // If it were open in the child, there would be no end to read.
        drop(ours);
        let end = theirs.read(&mut [0]);
        // SAFETY: a child of this process.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        assert_eq!(end.unwrap(), 0);
    }
}
