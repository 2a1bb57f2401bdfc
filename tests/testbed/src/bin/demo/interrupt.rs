//! Ctrl-C, and the other signals that end the demo.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

/// The signals that end the demo early. SIGHUP does as well, except under `nohup`.
const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// The blocked signals, to wait for.
pub struct Signals(libc::sigset_t);

/// Blocks the signals in this thread and those that it starts.
pub fn block() -> Signals {
    let mut set = empty();
    // SAFETY: the set is initialized, and the signals are valid.
    unsafe {
        for signal in SIGNALS {
            libc::sigaddset(&mut set, signal);
        }
        if !is_ignored(libc::SIGHUP) {
            libc::sigaddset(&mut set, libc::SIGHUP);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
    Signals(set)
}

/// Unblocks all signals in a process to be started, as a shell does.
pub fn unblock_in(command: &mut Command) {
    // SAFETY: pthread_sigmask is async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            match libc::pthread_sigmask(libc::SIG_SETMASK, &empty(), std::ptr::null_mut()) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        });
    }
}

impl Signals {
    /// Starts a thread that waits for the first of the signals, and then does this.
    pub fn on_arrival(self, end: impl FnOnce(libc::c_int) + Send + 'static) {
        thread::spawn(move || {
            let mut signal = 0;
            // SAFETY: both are initialized, and the set's signals are blocked in all threads.
            while unsafe { libc::sigwait(&self.0, &mut signal) } != 0 {}
            end(signal);
        });
    }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigaction only writes the present action, if it succeeds.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
