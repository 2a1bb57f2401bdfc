//! A network namespace without a name: it ends with its processes, its threads and its `Namespace`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

/// A network namespace with only loopback at first.
pub struct Namespace {
    handle: File,
    name: String,
}

/// Moves this thread, and all that it will start, to a new network namespace with only loopback.
///
/// # Errors
/// It cannot be created: this needs root.
pub fn isolate() -> io::Result<()> {
    // SAFETY: unshare takes no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = io::Error::last_os_error();
        let what = format!("cannot create a network namespace (run this as root): {error}");
        return Err(io::Error::new(error.kind(), what));
    }
    ip("link set lo up")
}

/// Runs `ip` with these arguments, separated by spaces, in this thread's namespace.
///
/// # Errors
/// It cannot be run, or fails.
pub fn ip(arguments: &str) -> io::Result<()> {
    run(Command::new("ip"), arguments)
}

fn run(mut ip: Command, arguments: &str) -> io::Result<()> {
    let output = ip.args(arguments.split(' ')).output();
    let output =
        output.map_err(|error| io::Error::new(error.kind(), format!("cannot run ip: {error}")))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let what = format!("`ip {arguments}` failed: {}", error.trim());
        return Err(io::Error::other(what));
    }
    Ok(())
}

impl Namespace {
    /// A new one; its processes have this host name.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new(name: &str) -> io::Result<Namespace> {
        let create = || {
            isolate()?;
            File::open("/proc/thread-self/ns/net")
        };
        let created = thread::scope(|scope| scope.spawn(create).join());
        let handle = created.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))?;
        let name = name.to_owned();
        Ok(Namespace { handle, name })
    }

    /// Moves this thread, and all that it will start, into it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn join(&self) -> io::Result<()> {
        // SAFETY: setns takes no pointers, and the descriptor is open.
        match unsafe { libc::setns(self.handle.as_raw_fd(), libc::CLONE_NEWNET) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes a command run in it.
    pub fn adapt(&self, command: &mut Command) {
        let (handle, name) = (self.handle.as_raw_fd(), self.name.clone());
        let enter = move || {
            // SAFETY: all three are async-signal-safe, and nothing is allocated. The descriptor is
            // open in the child until it becomes another program.
            let failed = unsafe {
                libc::setns(handle, libc::CLONE_NEWNET) != 0
                    || libc::unshare(libc::CLONE_NEWUTS) != 0
                    || libc::sethostname(name.as_ptr().cast(), name.len()) != 0
            };
            match failed {
                true => Err(io::Error::last_os_error()),
                false => Ok(()),
            }
        };
        // SAFETY: the closure only makes system calls.
        unsafe { command.pre_exec(enter) };
    }

    /// Runs `ip` in it.
    ///
    /// # Errors
    /// It cannot be run, or fails.
    pub fn ip(&self, arguments: &str) -> io::Result<()> {
        let mut command = Command::new("ip");
        self.adapt(&mut command);
        run(command, arguments)
    }

    /// A path that leads to it while this process lives, for `ip link ... netns PATH`.
    pub(super) fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.handle.as_raw_fd()
        )
    }
}
