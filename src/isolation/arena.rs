//! The global allocator: everything that a confidential thread allocates comes from an arena of its
//! own, and is wiped when it is freed. Other threads use the system's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use linked_list_allocator::Heap;

use super::memory::is_confidential;
use super::pages::Pages;
use super::shortfall::note_shortfall;

#[global_allocator]
static ALLOCATOR: Confidential = Confidential {
    arena: Mutex::new(Arena::Unmade),
};

/// The address space of the arena; only pages that are used cost memory. A takeover uses half a
/// MiB, or 2 MiB with the largest `ca_file`, and there is room for 32 of the latter.
const ARENA: usize = 64 << 20;

/// Where the arena begins, once there is one. It tells the arena's memory from other memory without
/// a lock, which might be held forever in a forked process.
static ARENA_START: AtomicUsize = AtomicUsize::new(0);

struct Confidential {
    arena: Mutex<Arena>,
}

enum Arena {
    Unmade,
    Made(Heap),
    /// The kernel refused it: the system's memory is used instead, and is wiped all the same.
    Refused,
}

// SAFETY: the heap is only used under the allocator's lock.
unsafe impl Send for Arena {}

impl Confidential {
    fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: memory comes from one of two allocators and goes back to the one that it came from, which
// its address tells.
unsafe impl GlobalAlloc for Confidential {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_confidential() {
            if let Some(memory) = self.arena().allocate(layout) {
                return memory.as_ptr();
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let is_of_arena = is_of_arena(memory);
        if is_of_arena || is_confidential() {
            // SAFETY: the caller promises that there is so much memory, and that it is no longer used.
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
            if !pages.protect() {
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
    use crate::isolation::memory::run;
    use crate::isolation::shortfall::fell_short;
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Barrier};

    #[test]
    fn only_a_confidential_thread_allocates_from_the_arena() {
        let confidential = std::thread::spawn(|| run(|| vec![7_u8; 100]))
            .join()
            .unwrap();
        assert!(is_of_arena(confidential.as_ptr()));
        let usual = Box::new([7_u8; 100]);
        assert!(!is_of_arena(usual.as_ptr()));
    }

    #[test]
    fn freed_memory_is_wiped() {
        std::thread::spawn(|| {
            run(|| {
                let mut secret = vec![0xa5_u8; 4096];
                let place = secret.as_ptr();
                secret = Vec::new();
                std::hint::black_box(&secret);
                // SAFETY: the arena stays mapped; only bytes are read. Its first words may
                // contain the heap's own list.
                let left = unsafe { std::slice::from_raw_parts(place.add(64), 4000) };
                assert!(!left.contains(&0xa5));
            });
        })
        .join()
        .unwrap();
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

    /// Held by tests that cause a shortfall, and by those that must not see one.
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
