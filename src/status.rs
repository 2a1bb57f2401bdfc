//! The status line that `systemctl status` shows of a unit with `Type=notify`.
//!
//! uWSGI sends `STATUS=initializing uWSGI` and `STATUS=uWSGI is ready`, and then nothing more
//! (core/notify.c). So what is sent from the master's cycle comes after that, and stays. The protocol
//! is that of sd_notify(3).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The variable by which systemd tells where it listens.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Sends the status line when it changes.
#[derive(Debug)]
pub struct Status {
    manager: SocketAddr,
    /// What was sent last.
    sent: String,
    has_failed: bool,
}

impl Status {
    /// `socket` is the value of [`VARIABLE`]: a path, or `@` and the name of an abstract socket.
    /// `None` if nobody listens.
    pub fn new(socket: Option<OsString>) -> Option<Status> {
        let manager = address(&socket?).ok()?;
        Some(Status {
            manager,
            sent: String::new(),
            has_failed: false,
        })
    }

    /// Sends a line, unless it was sent before. A line that could not be sent is sent again at the
    /// next call.
    ///
    /// # Errors
    /// It could not be sent. The same failure is reported once.
    pub fn show(&mut self, line: &str) -> io::Result<()> {
        if line == self.sent {
            return Ok(());
        }
        match self.send(line) {
            Ok(()) => {
                self.sent = line.into();
                self.has_failed = false;
                Ok(())
            }
            Err(_) if self.has_failed => Ok(()),
            Err(error) => {
                self.has_failed = true;
                Err(error)
            }
        }
    }

    /// The socket is closed at once, so that no worker inherits it.
    fn send(&self, line: &str) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // A line break would begin another variable.
        let line = line.replace('\n', " ");
        socket.send_to_addr(format!("STATUS={line}\n").as_bytes(), &self.manager)?;
        Ok(())
    }
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(socket)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn shows_each_line_once(listener: &UnixDatagram, socket: &OsStr) {
        listener.set_nonblocking(true).unwrap();
        let mut status = Status::new(Some(socket.into())).unwrap();
        for line in ["one", "one", "two\nMAINPID=1", "one"] {
            status.show(line).unwrap();
        }
        for line in ["one", "two MAINPID=1", "one"] {
            assert_eq!(received(listener), Some(format!("STATUS={line}\n")));
        }
        assert_eq!(received(listener), None);
    }

    #[test]
    fn each_line_is_sent_once_to_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        shows_each_line_once(&UnixDatagram::bind(&path).unwrap(), path.as_os_str());
    }

    #[test]
    fn each_line_is_sent_once_to_an_abstract_socket() {
        let name = format!("uwsgi-hetzner-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        shows_each_line_once(&listener, format!("@{name}").as_ref());
    }

    #[test]
    fn a_line_that_could_not_be_sent_is_sent_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let mut status = Status::new(Some(path.clone().into())).unwrap();
        assert!(status.show("one").is_err());
        assert!(status.show("one").is_ok());
        let listener = UnixDatagram::bind(&path).unwrap();
        status.show("one").unwrap();
        assert_eq!(received(&listener).as_deref(), Some("STATUS=one\n"));
    }

    #[test]
    fn without_a_socket_there_is_no_status() {
        for socket in ["", "notify", "vsock:2:1234"] {
            assert!(Status::new(Some(socket.into())).is_none(), "{socket}");
        }
        assert!(Status::new(None).is_none());
    }
}
