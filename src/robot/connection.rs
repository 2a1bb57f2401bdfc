//! Connections to the webservice: opened without wasting time on addresses that do not answer,
//! kept from forked processes, and watched for the first byte of a request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport, time,
};
use ureq::{Error, Timeout};

use crate::fork::Uninherited;

/// How long one of several addresses is given at first. It answers within this, or somebody
/// else may, and it gets what time is left when nobody did.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// Notes when the first byte of a request is handed to a connection that stands, TLS
/// included. Before that, the webservice knows of nothing.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<AtomicBool>);

impl Sent {
    /// A new request begins.
    pub fn reset(&self) {
        self.0.store(false, Relaxed);
    }

    /// Whether any of the request may have gone out.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Opens connections for requests to `target`: through a proxy if the environment has one,
/// with TLS if the url is https.
pub fn connector(target: &Uri, sent: &Sent) -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(Tcp)
        .chain(RustlsConnector::default())
        .chain(Watch {
            target: target.clone(),
            sent: sent.clone(),
        })
}

#[derive(Debug)]
struct Tcp;

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, TcpConnection>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let (uninherited, stream) = connect_any(&details.addrs, *details.timeout.after)?;
        stream.set_nodelay(true)?;
        Ok(Some(Either::B(TcpConnection {
            _uninherited: uninherited,
            stream,
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
        })))
    }
}

/// Connects to the first address that answers, within the time given for all of them.
fn connect_any(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<(Uninherited, TcpStream), Error> {
    let give_up = Instant::now() + within;
    let first_tries = match addresses {
        [_] => [].iter(),
        several => several.iter(),
    };
    let attempts = first_tries
        .map(|address| (address, FIRST_TRY))
        .chain(addresses.iter().map(|address| (address, within)));
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (address, patience) in attempts {
        let left = give_up.saturating_duration_since(Instant::now());
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

/// A process that is forked while this waits does not get the connection either.
fn connect(address: SocketAddr, within: Duration) -> io::Result<(Uninherited, TcpStream)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    let uninherited = Uninherited::new(socket.as_raw_fd());
    socket.connect_timeout(&address.into(), within)?;
    Ok((uninherited, socket.into()))
}

/// A time that has run out is told apart from other errors, which stay as they are.
fn named(error: io::Error, timeout: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(timeout),
        _ => Error::Io(error),
    }
}

#[derive(Debug)]
struct TcpConnection {
    // Dropped first: a number that is no longer ours must not be closed in a child.
    _uninherited: Uninherited,
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl TcpConnection {
    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Whether nothing is to be read and nobody has hung up.
    fn is_silent(&mut self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let silent = match self.stream.peek(&mut [0]) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        };
        self.stream.set_nonblocking(false)?;
        Ok(silent)
    }
}

impl Transport for TcpConnection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(span(timeout)?)?;
        let output = &self.buffers.output()[..amount];
        self.stream
            .write_all(output)
            .map_err(|error| named(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(span(timeout)?)?;
        let amount = self.read().map_err(|error| named(error, timeout.reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.is_silent().unwrap_or(false)
    }
}

/// The time for one operation on a socket; `None` is without end.
fn span(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    match timeout.after {
        time::Duration::NotHappening => Ok(None),
        time::Duration::Exact(Duration::ZERO) => Err(Error::Timeout(timeout.reason)),
        time::Duration::Exact(after) => Ok(Some(after)),
    }
}

/// Ends the chain of connectors.
#[derive(Debug)]
struct Watch {
    target: Uri,
    sent: Sent,
}

#[derive(Debug)]
struct Watched<T> {
    transport: T,
    /// `None` on the way to a proxy: what goes there is no request yet.
    sent: Option<Sent>,
}

impl<T: Transport> Connector<T> for Watch {
    type Out = Watched<T>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<T>,
    ) -> Result<Option<Watched<T>>, Error> {
        let is_target = *details.uri == self.target;
        Ok(chained.map(|transport| Watched {
            transport,
            sent: is_target.then(|| self.sent.clone()),
        }))
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(sent) = &self.sent {
            sent.0.store(true, Relaxed);
        }
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}
