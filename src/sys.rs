//! What the kernel and the C library offer and the standard library does not.

pub mod net;
pub mod process;

use std::ffi::{CStr, c_int, c_void};
use std::mem::{MaybeUninit, transmute_copy};
use std::time::Duration;

/// The time since the machine was started. It goes on while the machine is suspended, and however
/// long this process does not run.
pub fn uptime() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time is ours to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// The time of day as uWSGI has it, in seconds since 1970.
pub fn unix_time() -> libc::time_t {
    // SAFETY: a null argument is allowed.
    unsafe { libc::time(std::ptr::null_mut()) }
}

pub fn process_id() -> libc::pid_t {
    // SAFETY: it cannot fail.
    unsafe { libc::getpid() }
}

/// Whether this is the process's main thread.
pub fn is_main_thread() -> bool {
    // SAFETY: it cannot fail.
    unsafe { libc::gettid() == process_id() }
}

/// Runs `work` with all signals blocked on this thread. A thread started by it inherits that.
pub fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are filled by the calls that get them.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = work();
    // SAFETY: filled by the call above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    result
}

/// A copy of a value of this process that another thread may free meanwhile. The kernel reads it,
/// and fails where the memory is gone: then this is `None`, as it is for a null pointer.
///
/// # Safety
/// Any bit pattern is a `T`.
pub unsafe fn peek<T>(place: *const T) -> Option<T> {
    if place.is_null() {
        return None;
    }
    let size = size_of::<T>();
    let mut copy = MaybeUninit::<T>::uninit();
    let to = libc::iovec {
        iov_base: copy.as_mut_ptr().cast(),
        iov_len: size,
    };
    let from = libc::iovec {
        iov_base: place.cast_mut().cast(),
        iov_len: size,
    };
    // SAFETY: the copy is ours and as large as is written; what is read need not be valid.
    let read = unsafe { libc::process_vm_readv(process_id(), &to, 1, &from, 1, 0) };
    // SAFETY: wholly written, and any bit pattern is a `T`, by the caller's promise.
    (read == size as isize).then(|| unsafe { copy.assume_init() })
}

/// Looks a function up in the whole process.
///
/// # Safety
/// `F` is a function pointer, of the type of the function that has this name.
pub unsafe fn look_up<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the name is a C string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: of the same size, and of that type by the caller's promise; it is not null.
    (!address.is_null()).then(|| unsafe { transmute_copy(&address) })
}

/// Ends the process, exit handlers included.
pub fn exit(status: c_int) -> ! {
    // SAFETY: called at boot, on the main thread, where uWSGI itself does it.
    unsafe { libc::exit(status) }
}
