//! One connection through the relay, and its two directions.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use socket2::SockRef;

/// The most bytes that are on their way in one direction of a connection.
const MAX_BUFFER: usize = 64 * 1024;
/// How long a connection to the target may take, on loopback.
const CONNECT: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    client: TcpStream,
    /// `None` until something may pass for the first time.
    server: Option<TcpStream>,
    to_server: Flow,
    to_client: Flow,
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    bytes: Vec<u8>,
    /// The source has sent its last byte.
    ended: bool,
    /// The sink knows.
    closed: bool,
}

impl Connection {
    pub(super) fn of(client: TcpStream) -> Connection {
        Connection {
            client,
            server: None,
            to_server: Flow::default(),
            to_client: Flow::default(),
        }
    }

    pub(super) fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) {
        let Some(server) = &self.server else {
            return;
        };
        for (stream, from, to) in [
            (&self.client, &self.to_server, &self.to_client),
            (server, &self.to_client, &self.to_server),
        ] {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, from.has_room());
            events.set(PollFlags::OUT, !to.bytes.is_empty());
            if !events.is_empty() {
                watched.push(PollFd::new(stream, events));
            }
        }
    }

    /// Passes on what can be, and counts its bytes; false if the connection has come to its end in good
    /// order.
    pub(super) fn pass(&mut self, target: SocketAddr, bytes: &AtomicU64) -> io::Result<bool> {
        if self.server.is_none() {
            let server = TcpStream::connect_timeout(&target, CONNECT)?;
            server.set_nonblocking(true)?;
            for stream in [&self.client, &server] {
                stream.set_nodelay(true)?;
            }
            self.server = Some(server);
        }
        let Some(server) = &self.server else {
            return Ok(false); // It is there now.
        };
        self.to_server.pass(&self.client, server, bytes)?;
        self.to_client.pass(server, &self.client, bytes)?;
        Ok(!(self.to_server.closed && self.to_client.closed))
    }

    pub(super) fn reset(&self) {
        for stream in [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
        {
            // If it fails, the peer sees a close instead of a reset, and the test fails.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Flow {
    fn has_room(&self) -> bool {
        !self.ended && self.bytes.len() < MAX_BUFFER
    }

    fn pass(
        &mut self,
        mut source: &TcpStream,
        mut sink: &TcpStream,
        bytes: &AtomicU64,
    ) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        while self.has_room() {
            match source.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(read) => self.bytes.extend_from_slice(&chunk[..read]),
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        while !self.bytes.is_empty() {
            match sink.write(&self.bytes) {
                Ok(written) => {
                    bytes.fetch_add(written as u64, Ordering::Relaxed);
                    drop(self.bytes.drain(..written));
                }
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.ended && !self.closed {
            self.closed = true;
            sink.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
