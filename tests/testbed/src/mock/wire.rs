//! One connection, with TLS or without, and how it ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

/// For how long, and up to how many bytes, a closed connection is still read, so that a reset does
/// not destroy the last bytes sent.
const LINGER: Duration = Duration::from_secs(1);
const MAX_LINGER: usize = 256 * 1024;

pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Properly: everything sent arrives, then the end.
    Close,
    /// The peer has left, or does not matter any more.
    Drop,
    /// With a reset (RST).
    Reset,
}

impl Wire {
    /// Performs the TLS handshake, if TLS is on. On failure the peer gets its alert.
    pub(super) fn open(mut stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Wire> {
        let Some(config) = tls else {
            return Ok(Wire::Plain(stream));
        };
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        while session.is_handshaking() {
            if let Err(error) = session.complete_io(&mut stream) {
                close(&stream);
                return Err(error);
            }
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    /// Sends and flushes.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.flush()
    }

    /// Returns when the peer has closed the connection, or it was cut.
    pub(super) fn await_peer_leaving(&mut self) {
        read_to_end(self);
    }

    /// Ends the connection. A reset needs this to be the socket's last owner.
    pub(super) fn end(mut self, ending: Ending) {
        match ending {
            Ending::Drop => {}
            Ending::Reset => {
                // If it fails, the peer sees a close instead of a reset, and the test fails.
                let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
            }
            Ending::Close => {
                if let Wire::Tls(stream) = &mut self {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
                close(self.socket());
            }
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }
}

/// Closes the sending side, then reads until the peer has closed its side, or a second has passed.
pub(super) fn close(mut stream: &TcpStream) {
    // Errors here mean that the peer has left already.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(LINGER));
    let mut chunk = [0; 4096];
    let mut left = MAX_LINGER;
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        left = left.saturating_sub(n);
        if left == 0 {
            break;
        }
    }
}

/// Reads until the end of the connection, past read timeouts.
pub(super) fn read_to_end(from: &mut impl Read) {
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                _ => return,
            },
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
