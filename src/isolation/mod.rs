//! A worker thread that leaves no secret behind, neither in memory nor in forked processes.

mod arena;
pub mod fork;
pub mod memory;
mod pages;
mod shortfall;

use std::io;
use std::thread::{self, JoinHandle};

use crate::sys;

/// How many confidential threads there may be at once: takeovers of 16 addresses on uWSGI's legion
/// thread and on its main thread, a look, and as many again that hang.
const MAX_THREADS: usize = 64;

/// Starts a thread of this name for `work`, with all signals blocked. Everything that it allocates
/// is kept confidential (see [`memory`]).
///
/// # Errors
/// The kernel refuses the thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    fork::close_in_children();
    sys::without_signals(|| {
        thread::Builder::new()
            .name(name.into())
            .spawn(move || memory::run(work))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_blocked_on_the_thread_and_only_there() {
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("SigBlk:"));
            u64::from_str_radix(line.unwrap().split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        let usual = blocked();
        let within = spawn("test", blocked).unwrap().join().unwrap();
        let chld_usr1_int = 1 << 16 | 1 << 9 | 1 << 1;
        assert_eq!(within & chld_usr1_int, chld_usr1_int);
        assert_eq!(blocked(), usual);
    }
}
