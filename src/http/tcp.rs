//! TCP connections: opened without losing time to dead addresses, closed in forked processes, and
//! never waited for longer than the request may take.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::request::CurrentRequest;
use super::resolver::PatientResolver;
use crate::isolation::fork::Uninherited;

/// How long each of several addresses is given in the first round. If none answers, the rest of
/// the time is for a second round.
const FIRST_ROUND: Duration = Duration::from_secs(1);

/// Opens TCP connections.
#[derive(Debug)]
pub struct TcpConnector {
    pub request: CurrentRequest,
}

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, TcpConnection>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let end = self.request.begin_opening(details);
        let socket = connect_any(&details.addrs, end)?;
        socket.set_tcp_nodelay(true)?;
        let local = socket.local_addr().ok().and_then(|local| local.as_socket());
        self.request
            .note_local_address(local.map(|local| local.ip()));
        let remote = socket.peer_addr().ok();
        self.request
            .note_remote_address(remote.and_then(|remote| remote.as_socket()));
        Ok(Some(Either::B(TcpConnection {
            socket,
            request: self.request.clone(),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
        })))
    }
}

/// Connects to a host, and closes the connection again.
///
/// # Errors
/// The name does not resolve, or nobody accepts the connection, in time.
pub fn connect_to(
    resolver: &PatientResolver,
    host: &str,
    port: u16,
    within: Duration,
) -> Result<(), Error> {
    let end = Instant::now() + within;
    let addresses = resolver.look_up(format!("{host}:{port}"), within)?;
    connect_any(&addresses, end).map(|_| ())
}

/// Connects to the first address that answers, until `end`.
fn connect_any(addresses: &[SocketAddr], end: Instant) -> Result<Uninherited<Socket>, Error> {
    let first_round = match addresses {
        [_] => [].iter(),
        several => several.iter(),
    };
    let attempts = first_round
        .map(|address| (address, FIRST_ROUND))
        .chain(addresses.iter().map(|address| (address, Duration::MAX)));
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (address, patience) in attempts {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match connect(*address, patience.min(left)) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(named(last, Timeout::Connect))
}

/// The socket is registered before it is connected, so that a process forked meanwhile does not
/// keep it.
fn connect(address: SocketAddr, within: Duration) -> io::Result<Uninherited<Socket>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    let socket = Uninherited::new(socket);
    socket.connect_timeout(&address.into(), within)?;
    Ok(socket)
}

/// Turns an expired wait into this timeout, and leaves other errors as they are.
fn named(error: io::Error, timeout: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(timeout),
        _ => Error::Io(error),
    }
}

#[derive(Debug)]
pub struct TcpConnection {
    socket: Uninherited<Socket>,
    request: CurrentRequest,
    buffers: LazyBuffers,
}

impl TcpConnection {
    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.socket.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Whether there is nothing to read and the peer has not hung up.
    fn is_silent(&mut self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let silent = match self.socket.peek(&mut [MaybeUninit::uninit()]) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        };
        self.socket.set_nonblocking(false)?;
        Ok(silent)
    }
}

impl Transport for TcpConnection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut output = &self.buffers.output()[..amount];
        while !output.is_empty() {
            let (after, reason) = self.request.time_for(timeout)?;
            self.socket.set_write_timeout(Some(after))?;
            match self.socket.write(output) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => output = &output[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(named(error, reason)),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let (after, reason) = self.request.time_for(timeout)?;
        self.socket.set_read_timeout(Some(after))?;
        let amount = self.read().map_err(|error| named(error, reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.is_silent().unwrap_or(false)
    }
}
