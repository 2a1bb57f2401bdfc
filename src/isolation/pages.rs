//! Pages of memory that forked processes and core dumps do not get.

use std::ffi::c_void;
use std::ptr::null_mut;

use super::shortfall::note_shortfall;

/// Whole pages of ours that contain nothing that is in use: a new arena, or the part of a thread's
/// stack that its frames have not reached yet, or have left.
pub struct Pages {
    pub start: usize,
    pub length: usize,
}

impl Pages {
    /// Those of this thread's stack below the current frame. Above it the C library keeps data of its
    /// own, which a forked process needs.
    #[inline(never)]
    pub fn below_here() -> Pages {
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

    /// Keeps them from forked processes and core dumps. Returns whether the kernel can.
    pub fn protect(&self) -> bool {
        let advice = [libc::MADV_WIPEONFORK, libc::MADV_DONTDUMP];
        advice.map(|advice| self.advise(advice)) == [true; 2]
    }

    /// Undoes [`protect`](Pages::protect).
    pub fn unprotect(&self) {
        self.advise(libc::MADV_DODUMP);
        self.advise(libc::MADV_KEEPONFORK);
    }

    /// Gives their content back to the kernel. What is read there next is zero.
    pub fn empty(&self) {
        if self.length == 0 || self.advise(libc::MADV_DONTNEED) {
            return;
        }
        // They are locked, as all memory is with uWSGI's `never-swap`. They are locked again when they
        // are used.
        let (start, length) = (self.start as *const c_void, self.length);
        // SAFETY: pages of ours, and nothing in them is in use.
        let is_done = unsafe {
            libc::munlock(start, length) == 0
                && self.advise(libc::MADV_DONTNEED)
                && libc::mlock2(start, length, libc::MLOCK_ONFAULT) == 0
        };
        if !is_done {
            note_shortfall();
        }
    }

    /// Returns whether the kernel knows the advice.
    fn advise(&self, advice: i32) -> bool {
        let start = self.start as *mut c_void;
        // SAFETY: pages of ours, and nothing in them is in use.
        self.length > 0 && unsafe { libc::madvise(start, self.length, advice) } == 0
    }
}
