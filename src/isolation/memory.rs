//! Memory that keeps secrets: wiped when freed, and absent in forked processes and core dumps.
//!
//! A takeover sends a password, and with it leaves copies in every buffer on the way. uWSGI's
//! workers are forked from the process that this happens in, at any time. So all that a
//! takeover's thread allocates comes from an arena that the kernel gives to no child
//! (`MADV_WIPEONFORK`) and puts in no core dump, and that is wiped as it is freed; its stack
//! is treated alike. What other threads allocate is the system's, as ever.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use linked_list_allocator::Heap;

use super::MAX_THREADS;

#[global_allocator]
static ALLOCATOR: Confidential = Confidential {
    arena: Mutex::new(Arena::Unmade),
};

/// The address space of the arena; only pages that are used cost memory. A takeover uses half a MiB,
/// and up to 2 MiB with the longest `ca_file`, and there may be [`MAX_THREADS`] of them, half of which hang.
const ARENA: usize = 64 << 20;

/// How far below the frame that starts a takeover its own frames begin: enough to leave that
/// frame alone when the rest is wiped.
const DISTANCE: usize = 16 << 10;

/// Where the arena begins, once there is one: to tell its memory from other without a lock,
/// which a forked process may find taken for ever.
static ARENA_START: AtomicUsize = AtomicUsize::new(0);

/// The stacks that are confidential now: start and length of each, or zeroes.
static STACKS: [[AtomicUsize; 2]; MAX_THREADS] =
    [const { [const { AtomicUsize::new(0) }; 2] }; MAX_THREADS];

/// Whether something could not be kept confidential.
static FELL_SHORT: AtomicBool = AtomicBool::new(false);

thread_local! {
    static IS_CONFIDENTIAL: Cell<bool> = const { Cell::new(false) };
}

struct Confidential {
    arena: Mutex<Arena>,
}

enum Arena {
    Unmade,
    Made(Heap),
    /// The kernel gave none: the system's memory has to do, and is wiped all the same.
    Refused,
}

// SAFETY: a heap that is only used under the allocator's lock.
unsafe impl Send for Arena {}

/// Runs `work` with everything that it allocates, and its stack, kept confidential. For a
/// thread of its own: what is left on its stack afterwards is wiped.
#[inline(never)]
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let _stack = ConfidentialStack::begin(Pages::below_here());
    at_a_distance(work)
}

/// Something could not be kept from forked processes, core dumps or the swap.
pub fn note_shortfall() {
    FELL_SHORT.store(true, Ordering::Relaxed);
}

/// Whether that has been noted since this was last asked.
pub fn fell_short() -> bool {
    FELL_SHORT.swap(false, Ordering::Relaxed)
}

/// While it lives, this thread is confidential. It ends with a panic, too.
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
        // Without a slot nobody could undo it in a child: see `keep_stacks`.
        let is_kept = slot.is_some_and(|[_, length]| {
            length.store(stack.length, Ordering::Relaxed);
            stack.keep()
        });
        if !is_kept {
            note_shortfall();
        }
        IS_CONFIDENTIAL.set(true);
        ConfidentialStack { stack, slot }
    }
}

impl Drop for ConfidentialStack {
    fn drop(&mut self) {
        IS_CONFIDENTIAL.set(false);
        // Its pages are given back, and come again empty. The stack itself is kept by the C
        // library for another thread, which has no secrets.
        self.stack.empty();
        self.stack.make_usual();
        if let Some([start, length]) = self.slot {
            length.store(0, Ordering::Relaxed);
            start.store(0, Ordering::Relaxed);
        }
    }
}

/// For a forked process, which has the stacks but not their threads: its C library gives
/// them to threads of its own, and these must not lose them when they fork in turn.
pub fn keep_stacks() {
    for [start, length] in &STACKS {
        let stack = Pages {
            start: start.load(Ordering::Relaxed),
            length: length.load(Ordering::Relaxed),
        };
        stack.make_usual();
    }
}

#[inline(never)]
fn at_a_distance<T>(work: impl FnOnce() -> T) -> T {
    let distance = std::hint::black_box([0_u8; DISTANCE]);
    let result = work();
    std::hint::black_box(&distance);
    result
}

/// Whole pages of ours with nothing in them that is in use: a new arena, or the part of a thread's
/// stack that its frames have not reached, or have left.
struct Pages {
    start: usize,
    length: usize,
}

impl Pages {
    /// Those of this thread's stack. What lies above the current frame stays as it is: the C
    /// library keeps its own data there, which a forked process needs.
    #[inline(never)]
    fn below_here() -> Pages {
        let here = std::hint::black_box(0_u8);
        // SAFETY: the attributes are those of this very thread, and are given back.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE).unsigned_abs() as usize;
            let mut attributes = std::mem::zeroed();
            if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
                return Pages {
                    start: 0,
                    length: 0,
                };
            }
            let (mut start, mut size) = (null_mut(), 0);
            libc::pthread_attr_getstack(&attributes, &mut start, &mut size);
            libc::pthread_attr_destroy(&mut attributes);
            let start = (start as usize).next_multiple_of(page);
            let end = (&raw const here as usize) / page * page - page;
            Pages {
                start,
                length: end.saturating_sub(start),
            }
        }
    }

    /// Keeps them from forked processes and core dumps, if the kernel can.
    fn keep(&self) -> bool {
        let is_kept = [libc::MADV_WIPEONFORK, libc::MADV_DONTDUMP];
        is_kept.map(|advice| self.advise(advice)) == [true; 2]
    }

    /// Undoes [`keep`](Pages::keep).
    fn make_usual(&self) {
        self.advise(libc::MADV_DODUMP);
        self.advise(libc::MADV_KEEPONFORK);
    }

    /// Gives their content back to the kernel; what is read there next is zero.
    fn empty(&self) {
        if self.length == 0 || self.advise(libc::MADV_DONTNEED) {
            return;
        }
        // They are locked, as all is with uWSGI's `never-swap`, and are to be again when used.
        let (start, length) = (self.start as *const c_void, self.length);
        // SAFETY: it changes where pages may be, and not what is in them.
        let is_done = unsafe {
            libc::munlock(start, length) == 0
                && self.advise(libc::MADV_DONTNEED)
                && libc::mlock2(start, length, libc::MLOCK_ONFAULT) == 0
        };
        if !is_done {
            note_shortfall();
        }
    }

    /// A kernel that does not know the advice refuses it.
    fn advise(&self, advice: i32) -> bool {
        let start = self.start as *mut c_void;
        // SAFETY: pages of ours, with nothing in them that is in use.
        self.length > 0 && unsafe { libc::madvise(start, self.length, advice) } == 0
    }
}

impl Confidential {
    fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: memory comes from one of two allocators and goes back to the one it came from, which
// is told by its address.
unsafe impl GlobalAlloc for Confidential {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_CONFIDENTIAL.get() {
            if let Some(memory) = self.arena().allocate(layout) {
                return memory.as_ptr();
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let is_of_arena = is_of_arena(memory);
        if is_of_arena || IS_CONFIDENTIAL.get() {
            // SAFETY: the caller's promise: so much memory, which nobody uses any more.
            unsafe { libc::explicit_bzero(memory.cast(), layout.size()) };
        }
        match NonNull::new(memory) {
            Some(memory) if is_of_arena => {
                if let Arena::Made(heap) = &mut *self.arena() {
                    // SAFETY: it came from this heap, with this layout.
                    unsafe { heap.deallocate(memory, layout) };
                }
            }
            // SAFETY: it came from the system, with this layout.
            Some(_) | None => unsafe { System.dealloc(memory, layout) },
        }
    }
}

impl Arena {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if let Arena::Unmade = self {
            *self = Arena::make();
        }
        let memory = match self {
            Arena::Made(heap) => heap.allocate_first_fit(layout).ok(),
            Arena::Unmade | Arena::Refused => None,
        };
        if memory.is_none() {
            note_shortfall();
        }
        memory
    }

    fn make() -> Arena {
        // SAFETY: new memory, which becomes the heap's for as long as the process lives.
        unsafe {
            // With uWSGI's `never-swap`, new memory is locked and filled at once, unless nobody may
            // access it.
            let memory = libc::mmap(
                null_mut(),
                ARENA,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            );
            if memory == libc::MAP_FAILED {
                return Arena::Refused;
            }
            let pages = Pages {
                start: memory as usize,
                length: ARENA,
            };
            if !pages.keep() {
                note_shortfall();
            }
            pages.empty();
            if libc::mprotect(memory, ARENA, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                libc::munmap(memory, ARENA);
                return Arena::Refused;
            }
            ARENA_START.store(memory as usize, Ordering::Release);
            Arena::Made(Heap::new(memory.cast(), ARENA))
        }
    }
}

fn is_of_arena(memory: *const u8) -> bool {
    let start = ARENA_START.load(Ordering::Acquire);
    start != 0 && (start..start + ARENA).contains(&(memory as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::fork::Uninherited;
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Barrier};

    #[test]
    fn a_confidential_thread_allocates_from_the_arena_and_others_do_not() {
        let confidential = std::thread::spawn(|| run(|| vec![7_u8; 100]))
            .join()
            .unwrap();
        assert!(is_of_arena(confidential.as_ptr()));
        let usual = Box::new([7_u8; 100]);
        assert!(!is_of_arena(usual.as_ptr()));
    }

    #[test]
    fn what_is_freed_is_wiped() {
        std::thread::spawn(|| {
            run(|| {
                let mut secret = vec![0xa5_u8; 4096];
                let place = secret.as_ptr();
                secret = Vec::new();
                std::hint::black_box(&secret);
                // SAFETY: the arena stays mapped; only bytes are read. Its first words may
                // hold the heap's own list.
                let left = unsafe { std::slice::from_raw_parts(place.add(64), 4000) };
                assert!(!left.contains(&0xa5));
            });
        })
        .join()
        .unwrap();
    }

    /// What a forked process exits with; a crash is -1. `work` must not allocate.
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

    #[test]
    fn memory_may_be_freed_by_another_thread_and_is_used_again() {
        for _ in 0..100 {
            let big = std::thread::spawn(|| run(|| vec![1_u8; 1 << 20]))
                .join()
                .unwrap();
            assert!(is_of_arena(big.as_ptr()));
        }
    }

    /// Held by tests that cause a shortfall, or that must not see one.
    static SHORTFALLS: Mutex<()> = Mutex::new(());

    #[test]
    fn an_allocation_larger_than_the_arena_still_succeeds() {
        let _alone = SHORTFALLS.lock();
        let huge = std::thread::spawn(|| run(|| Vec::<u8>::with_capacity(ARENA + 1)))
            .join()
            .unwrap();
        assert!(!is_of_arena(huge.as_ptr()));
        assert!(fell_short());
    }

    /// Takeovers of 16 addresses and a look, each with two connections and as much memory as the
    /// longest `ca_file` takes.
    #[test]
    fn there_is_room_for_17_threads_at_once() {
        let _alone = SHORTFALLS.lock();
        fell_short();
        let all_at_once = Arc::new(Barrier::new(17));
        let threads: Vec<_> = (0..17)
            .map(|_| {
                let all_at_once = all_at_once.clone();
                crate::isolation::spawn("test", move || {
                    let memory = vec![7_u8; 2 << 20];
                    let (one, other) = UnixStream::pair().unwrap();
                    let _sockets = [one, other].map(Uninherited::new);
                    all_at_once.wait();
                    is_of_arena(memory.as_ptr())
                })
            })
            .collect();
        for thread in threads {
            assert!(thread.unwrap().join().unwrap());
        }
        assert!(!fell_short());
    }
}
