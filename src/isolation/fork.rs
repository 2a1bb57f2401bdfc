//! What a forked process must not inherit.
//!
//! uWSGI's workers are forked from the master and run other people's code. A worker that is
//! respawned during a takeover gets a copy of all that the master has open, and
//! close-on-exec does not help, since nothing is executed.

use std::cell::UnsafeCell;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

use super::memory;

const FREE: i32 = -1;

/// The sockets to close in a child. A process has two takeovers at the most, one on the legion
/// thread and one on the main thread, each with two connections if there is a proxy.
static OPEN: [AtomicI32; 8] = [const { AtomicI32::new(FREE) }; 8];

/// Held while a descriptor is opened or closed, and by whoever forks: so a child finds all that
/// it has in `OPEN`, and nothing there that it has not.
static FORKING: ForkLock = ForkLock(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

/// Not a `Mutex`, which cannot be locked in one function and unlocked in another.
struct ForkLock(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is made to be shared.
unsafe impl Sync for ForkLock {}

impl ForkLock {
    fn lock(&self) {
        // SAFETY: an initialised mutex that stays where it is.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
    }

    /// # Safety
    /// This thread has locked it; in a child, the thread that forked has.
    unsafe fn unlock(&self) {
        // SAFETY: an initialised mutex; the rest is the caller's promise.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

/// Runs `work` while no process can be forked. It must not block.
fn without_forks<T>(work: impl FnOnce() -> T) -> T {
    struct Unlock;
    impl Drop for Unlock {
        fn drop(&mut self) {
            // SAFETY: made on this thread, right after it was locked.
            unsafe { FORKING.unlock() };
        }
    }
    FORKING.lock();
    let _unlock = Unlock;
    work()
}

/// A socket that is closed in every child that is forked while it lives. Not for files, which may
/// hang when they are closed, and with them whoever forks.
#[derive(Debug)]
pub struct Uninherited<T: AsRawFd> {
    open: ManuallyDrop<T>,
    slot: Option<&'static AtomicI32>,
}

impl<T: AsRawFd> Uninherited<T> {
    /// Opens what no child is to have, not even one that is forked just now. `open` must not block.
    pub fn open(open: impl FnOnce() -> io::Result<T>) -> io::Result<Uninherited<T>> {
        watch();
        without_forks(|| open().map(Uninherited::register))
    }

    fn register(open: T) -> Uninherited<T> {
        let fd = open.as_raw_fd();
        let slot = OPEN.iter().find(|slot| {
            slot.compare_exchange(FREE, fd, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        });
        if slot.is_none() {
            memory::note_shortfall();
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
        without_forks(|| {
            if let Some(slot) = self.slot {
                slot.store(FREE, Ordering::Relaxed);
            }
            // SAFETY: it is dropped here alone, and nobody uses it any more.
            unsafe { ManuallyDrop::drop(&mut self.open) };
        });
    }
}

/// Has forked processes be rid of what they must not have, from now on.
pub fn watch() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // SAFETY: the handlers stay valid, as the plugin is never unloaded, and the child's does
        // nothing but what is allowed after a fork.
        let result =
            unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
        if result != 0 {
            memory::note_shortfall();
        }
    });
}

unsafe extern "C" fn before_fork() {
    FORKING.lock();
}

unsafe extern "C" fn after_fork() {
    // SAFETY: locked before the fork, on this thread.
    unsafe { FORKING.unlock() };
}

/// Runs in the child, on the only thread it has, which is the one that forked.
unsafe extern "C" fn in_child() {
    // SAFETY: locked before the fork, on the thread that this is a copy of.
    unsafe { FORKING.unlock() };
    memory::keep_stacks();
    for slot in &OPEN {
        let fd = slot.swap(FREE, Ordering::Relaxed);
        if fd != FREE {
            // SAFETY: the child's own copy of what only the takeover's thread uses, which the
            // child does not have.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::mem::MaybeUninit;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn a_child_does_not_have_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = Uninherited::open(|| Ok(ours)).unwrap();
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
    /// Whether any file descriptor of this process is that file. It does not allocate.
    fn has_open(inode: u64) -> bool {
        (0..1024).any(|fd| {
            let mut status = MaybeUninit::<libc::stat>::uninit();
            // SAFETY: the status is ours to write to, and read only if it was written.
            unsafe {
                libc::fstat(fd, status.as_mut_ptr()) == 0 && status.assume_init().st_ino == inode
            }
        })
    }

    #[test]
    fn a_child_that_is_forked_just_then_does_not_have_it_either() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (path, inode) = (
            file.path().to_owned(),
            file.as_file().metadata().unwrap().ino(),
        );
        let file = file.into_temp_path();
        let ended = Arc::new(AtomicBool::new(false));
        let opener = std::thread::spawn({
            let ended = ended.clone();
            move || {
                while !ended.load(Ordering::Relaxed) {
                    let open = || {
                        let file = File::open(&path)?;
                        // A moment in which it is open, and nobody knows of it.
                        std::thread::sleep(Duration::from_millis(1));
                        Ok(file)
                    };
                    drop(Uninherited::open(open).unwrap());
                }
            }
        });
        let inherited = (0..100).filter(|_| {
            // SAFETY: the child does what is allowed after a fork, and ends.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::_exit(i32::from(has_open(inode)));
                }
                let mut status = 0;
                libc::waitpid(child, &mut status, 0);
                libc::WEXITSTATUS(status) != 0
            }
        });
        assert_eq!(inherited.count(), 0);
        ended.store(true, Ordering::Relaxed);
        opener.join().unwrap();
        drop(file);
    }
}
