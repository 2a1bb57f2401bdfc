//! A terminal for a process, so that it can be asked and interrupted.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testbed::uwsgi::Log;

/// A process with a terminal of 80 columns.
pub struct Session {
    child: Child,
    keyboard: File,
    screen: Log,
}

impl Session {
    pub fn start(mut command: Command) -> Session {
        let (ours, theirs) = open();
        let keyboard = File::from(ours);
        let screen = Log::follow(Screen(keyboard.try_clone().unwrap()));
        command
            .stdin(Stdio::from(theirs.try_clone().unwrap()))
            .stdout(Stdio::from(theirs));
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("it starts");
        drop(command); // This closes our copies of its end.
        Session {
            child,
            keyboard,
            screen,
        }
    }

    /// Waits for a line with this part.
    #[track_caller]
    pub fn wait(&self, part: &str, patience: Duration) -> String {
        let found = self.screen.wait_for(part, patience);
        found.unwrap_or_else(|| panic!("no `{part}` on the screen:\n{}", self.screen.text()))
    }

    pub fn screen(&self) -> Vec<String> {
        self.screen.lines()
    }

    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end, and returns its exit status.
    #[track_caller]
    pub fn end(&mut self, patience: Duration) -> Option<i32> {
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(self.screen.wait_for_end(patience));
                return status.code();
            }
            // No event with a time limit reports the end of a child.
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end:\n{}", self.screen.text());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is drawn, with a line end wherever something ends: a question, and a line that is redrawn.
struct Screen(File);

impl Read for Screen {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let half = buffer.len() / 2;
        // The other end is gone when the process is.
        let read = self.0.read(&mut buffer[..half]).unwrap_or(0);
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let text = text.replace("\r\x1b[2K", "\n").replace("] ", "]\n");
        let length = text.len().min(buffer.len());
        buffer[..length].copy_from_slice(&text.as_bytes()[..length]);
        Ok(length)
    }
}

fn open() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: both ends are ours to write to; there is neither a name nor settings.
    let result = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            std::ptr::null_mut(),
            std::ptr::null(),
            &size,
        )
    };
    assert_eq!(result, 0, "there is no terminal");
    // SAFETY: new, open, and nobody else's. Other children must not keep them.
    unsafe {
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(theirs, libc::F_SETFD, libc::FD_CLOEXEC);
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}
