//! Memory that keeps secrets: wiped when freed, and absent in forked processes and core dumps.
//!
//! A takeover sends a password, which leaves copies in every buffer on the way. uWSGI's workers are
//! forked from the same process at any time. So everything that a takeover's thread allocates comes
//! from an arena (see `arena`) that the kernel passes to no child (`MADV_WIPEONFORK`) and writes to
//! no core dump (`MADV_DONTDUMP`), and that is wiped as it is freed. Its stack is treated alike.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::MAX_THREADS;
use super::pages::Pages;
use super::shortfall::note_shortfall;

pub use super::shortfall::fell_short;

/// How far below the frame that starts a takeover its own frames begin: enough to leave that frame
/// alone when the rest is wiped.
const DISTANCE: usize = 16 << 10;

/// The stacks that are confidential now: start and length of each, or zeroes.
static STACKS: [[AtomicUsize; 2]; MAX_THREADS] =
    [const { [const { AtomicUsize::new(0) }; 2] }; MAX_THREADS];

thread_local! {
    static IS_CONFIDENTIAL: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's memory is confidential.
pub fn is_confidential() -> bool {
    IS_CONFIDENTIAL.get()
}

/// Runs `work` and keeps its stack, and everything that it allocates, confidential. For a thread of
/// its own: what is left on the stack afterwards is wiped.
#[inline(never)]
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let _stack = ConfidentialStack::begin(Pages::below_here());
    at_a_distance(work)
}

/// While it lives, this thread is confidential. A panic ends that too.
struct ConfidentialStack {
    stack: Pages,
    slot: Option<&'static [AtomicUsize; 2]>,
}

impl ConfidentialStack {
    fn begin(stack: Pages) -> ConfidentialStack {
        let slot = STACKS.iter().find(|[start, _]| {
            let free = start.compare_exchange(0, stack.start, Ordering::Relaxed, Ordering::Relaxed);
            free.is_ok()
        });
        // Without a slot a child could not undo it: see `unprotect_stacks`.
        let is_protected = slot.is_some_and(|[_, length]| {
            length.store(stack.length, Ordering::Relaxed);
            stack.protect()
        });
        if !is_protected {
            note_shortfall();
        }
        IS_CONFIDENTIAL.set(true);
        ConfidentialStack { stack, slot }
    }
}

impl Drop for ConfidentialStack {
    fn drop(&mut self) {
        IS_CONFIDENTIAL.set(false);
        // The pages are given back to the kernel, and are empty when they are used again. The C
        // library keeps the stack itself for another thread, which has no secrets.
        self.stack.empty();
        self.stack.unprotect();
        if let Some([start, length]) = self.slot {
            length.store(0, Ordering::Relaxed);
            start.store(0, Ordering::Relaxed);
        }
    }
}

/// For a forked process, which has the stacks but not their threads: its C library gives them to
/// threads of its own, which must not lose their content when they fork in turn.
pub fn unprotect_stacks() {
    for [start, length] in &STACKS {
        let stack = Pages {
            start: start.load(Ordering::Relaxed),
            length: length.load(Ordering::Relaxed),
        };
        stack.unprotect();
    }
}

#[inline(never)]
fn at_a_distance<T>(work: impl FnOnce() -> T) -> T {
    let distance = std::hint::black_box([0_u8; DISTANCE]);
    let result = work();
    std::hint::black_box(&distance);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit status of a forked process, or -1 after a crash. `work` must not allocate.
    fn in_child(work: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child does what is allowed after a fork, and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(work());
            }
            let mut status = 0;
            libc::waitpid(child, &mut status, 0);
            match libc::WIFEXITED(status) {
                true => libc::WEXITSTATUS(status),
                false => -1,
            }
        }
    }

    #[test]
    fn a_forked_process_has_nothing_of_it() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            run(move || {
                let on_heap = Box::new([0xa5_u8; 64]);
                let on_stack = std::hint::black_box([0xa5_u8; 64]);
                tell.send([on_heap.as_ptr() as usize, on_stack.as_ptr() as usize])
                    .unwrap();
                let _ = ended.recv();
                assert_eq!((on_heap[32], on_stack[32]), (0xa5, 0xa5));
            });
        });
        let places: [usize; 2] = told.recv().unwrap();
        // SAFETY: both places are mapped.
        let seen = |place: usize| unsafe { (place as *const u8).add(32).read_volatile() == 0xa5 };
        let status = in_child(|| i32::from(seen(places[0])) + 2 * i32::from(seen(places[1])));
        assert_eq!(status, 0);
        drop(end);
        thread.join().unwrap();
    }

    /// The child's C library gives the stack to the child's next thread, which forks.
    #[test]
    fn a_forked_process_may_use_the_stack_again() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            crate::isolation::fork::close_in_children();
            run(move || {
                let here = std::hint::black_box([0_u8; 64]);
                tell.send(here.as_ptr() as usize).unwrap();
                let _ = ended.recv();
            });
        });
        let place: usize = told.recv().unwrap();
        let status = in_child(|| {
            // SAFETY: mapped, and nobody else's in the child.
            unsafe { (place as *mut u8).write_volatile(0xa5) };
            // SAFETY: as above.
            in_child(|| i32::from(unsafe { (place as *const u8).read_volatile() } != 0xa5))
        });
        assert_eq!(status, 0);
        drop(end);
        thread.join().unwrap();
    }
}
