//! Runs a program in namespaces of its own, so that it leaves nothing behind.
//!
//! The program runs itself as the first process of a PID namespace. When that process ends, however it
//! does, the kernel kills everything in that namespace; with the last process go the network
//! namespaces, and the mounts with all temporary files, which are in a tmpfs.

use std::env;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode};

use super::WEBSERVICE;

/// Set in the process that runs inside.
const INSIDE: &str = "TESTBED_CAGE";
/// Where all temporary files are.
const SCRATCH: &CStr = c"/run";
/// What is kept of the environment, which otherwise describes the caller's network and uWSGI.
const KEPT: [&str; 3] = ["PATH", "TERM", "NO_COLOR"];

/// The signals that end the program. SIGCHLD reports its end.
const SIGNALS: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGCHLD,
];

/// Calls this in namespaces of its own, as root. Call it before any thread is started. The name of
/// the Robot webservice leads to [`WEBSERVICE`] inside.
pub fn enclose(inside: impl FnOnce() -> ExitCode) -> ExitCode {
    let result = match env::var_os(INSIDE) {
        Some(_) => furnish().map(|()| inside()),
        None => run_inside(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("the namespaces cannot be set up: {error}");
        ExitCode::FAILURE
    })
}

/// Runs this program again, inside, and waits for its end or for a signal.
fn run_inside() -> io::Result<ExitCode> {
    let signals = block();
    // Before the mounts change: after that, in a chroot, its path is one that does not exist there.
    let program = env::current_exe()?;
    let namespaces = libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    // SAFETY: unshare takes no pointers.
    check(unsafe { libc::unshare(namespaces) })?;
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    let mut command = Command::new(program);
    command
        .args(env::args_os().skip(1))
        .env_clear()
        .envs(kept)
        .env(INSIDE, "1")
        .env("TMPDIR", "/run");
    // SAFETY: prctl and pthread_sigmask are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let none = empty();
            libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    loop {
        let mut signal = 0;
        // SAFETY: both are initialized, and the set's signals are blocked.
        unsafe { libc::sigwait(&signals, &mut signal) };
        if signal != libc::SIGCHLD {
            child.kill()?;
            // Returns when everything inside is gone.
            child.wait()?;
            eprintln!("\nInterrupted: everything is stopped.");
            // As a shell does.
            return Ok(ExitCode::from(128 + signal as u8));
        }
        if let Some(status) = child.try_wait()? {
            let code = status.code().or(status.signal().map(|signal| 128 + signal));
            return Ok(ExitCode::from(code.unwrap_or(1) as u8));
        }
    }
}

/// Mounts what the namespaces need.
fn furnish() -> io::Result<()> {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    mount(c"none", c"/", None, private)?;
    mount(c"proc", c"/proc", Some(c"proc"), 0)?;
    mount(c"tmpfs", SCRATCH, Some(c"tmpfs"), 0)?;
    let hosts = format!("127.0.0.1 localhost\n{WEBSERVICE} robot-ws.your-server.de\n");
    fs::write("/run/hosts", hosts)?;
    mount(c"/run/hosts", c"/etc/hosts", None, libc::MS_BIND)?;
    super::ip("link set lo up")
}

fn mount(from: &CStr, to: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the strings end with a zero, and a missing kind or data is null.
    let mounted = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind, flags, std::ptr::null()) };
    check(mounted).map_err(|error| {
        let to = to.to_string_lossy();
        io::Error::new(error.kind(), format!("cannot mount {to}: {error}"))
    })
}

fn check(returned: libc::c_int) -> io::Result<()> {
    match returned {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Blocks the signals in this thread.
fn block() -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: the set is initialized, and the signals are valid.
    unsafe {
        for signal in SIGNALS {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
    set
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}
