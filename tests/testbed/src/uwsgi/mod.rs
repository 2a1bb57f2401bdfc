//! uWSGI nodes: real processes, each with its log, stopped when dropped.

mod config;
mod log;
mod observer;
pub mod process;
mod relay;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use config::{Legion, NodeConfig, free_udp_port};
pub use log::Log;
pub use observer::Observer;
pub use relay::{Quality, Relay};

/// How long a test waits for an event before it gives up. Far longer than any event takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a node.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The uWSGI binary.
    pub uwsgi: PathBuf,
    /// The directory that contains `hetzner_plugin.so`, if it is not uWSGI's own.
    pub plugins_dir: Option<PathBuf>,
    /// How long a dropped node may take to end by itself; `None` kills it at once.
    pub farewell: Option<Duration>,
}

/// A uWSGI instance: the master, and everything it started.
pub struct Node {
    child: Child,
    log: Log,
    status: Option<ExitStatus>,
    farewell: Option<Duration>,
    _directory: tempfile::TempDir,
}

impl Node {
    /// Starts uWSGI with an ini file of this text, in a directory of its own.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(launch: &Launch, ini: &str) -> io::Result<Node> {
        Node::start_with(launch, ini, |_| {})
    }

    /// The same, after the command has been adapted.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start_with(
        launch: &Launch,
        ini: &str,
        adapt: impl FnOnce(&mut Command),
    ) -> io::Result<Node> {
        let directory = tempfile::tempdir()?;
        let ini = match &launch.plugins_dir {
            Some(plugins) => ini.replacen(
                "[uwsgi]",
                &format!("[uwsgi]\nplugins-dir = {}", plugins.display()),
                1,
            ),
            None => ini.to_string(),
        };
        let path = directory.path().join("uwsgi.ini");
        std::fs::write(&path, ini)?;
        let (reader, writer) = UnixStream::pair()?;
        let writer = OwnedFd::from(writer);
        let mut command = Command::new(&launch.uwsgi);
        command
            .arg("--ini")
            .arg(&path)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        adapt(&mut command);
        die_with_parent(&mut command);
        let child = command.spawn()?;
        drop(command); // This closes our ends of the pipe.
        Ok(Node {
            child,
            log: Log::follow(reader),
            status: None,
            farewell: launch.farewell,
            _directory: directory,
        })
    }

    /// The master's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the process has not been waited for, so the id is still its own.
        let sent = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(sent, 0, "signal {signal} could not be sent");
    }

    /// Waits until the master has ended.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let give_up = Instant::now() + patience;
        while self.status.is_none() && Instant::now() < give_up {
            self.status = self.child.try_wait().ok().flatten();
            if self.status.is_none() {
                // No event with a time limit reports the end of a child.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.status
    }

    /// Shuts uWSGI down, as an operator would.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(libc::SIGINT);
        self.wait(patience)
    }

    /// Kills the master and everything it started, at once.
    pub fn kill(&mut self) {
        if self.status.is_none() {
            // SAFETY: the node's own process group; its leader has not been waited for.
            unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
            self.status = self.child.wait().ok();
        }
    }

    /// Whether the master has been neither killed nor waited for.
    pub fn is_running(&self) -> bool {
        self.status.is_none()
    }

    /// Whether the master ended by a signal that it raised itself.
    pub fn crashed(&mut self) -> bool {
        self.status = self.status.or(self.child.try_wait().ok().flatten());
        let signal = self.status.and_then(|status| status.signal());
        matches!(
            signal,
            Some(libc::SIGSEGV | libc::SIGABRT | libc::SIGBUS | libc::SIGILL)
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let (Some(patience), true) = (self.farewell, self.is_running()) {
            // It may have been stopped.
            self.signal(libc::SIGCONT);
            self.stop(patience);
        }
        // Its group outlives a master that ended first.
        self.kill();
        // SAFETY: the node's own process group, or none.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
    }
}

fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// A directory with a copy of the plugin under the name that uWSGI looks for: it derives the plugin's
/// symbol from the file's name.
///
/// # Errors
/// The plugin does not exist, or cannot be copied.
pub fn plugins_dir(plugin: &Path) -> io::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    std::fs::copy(plugin, directory.path().join("hetzner_plugin.so"))?;
    Ok(directory)
}
