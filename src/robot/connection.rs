//! Connections to the webservice: opened without wasting time on addresses that do not answer,
//! kept from forked processes, watched for the first byte of a request, and never waited for
//! longer than the request may take.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport, time,
};
use ureq::{Error, Timeout};

use crate::isolation::fork::Uninherited;

/// How long one of several addresses is given at first. It answers within this, or somebody
/// else may, and it gets what time is left when nobody did.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// The shortest wait for a socket.
const LEAST_WAIT: Duration = Duration::from_micros(1);

/// One request at a time, as the client and its connections share it: until when it may take, and
/// whether any of it may have gone out.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// When the request is given up.
    end: Instant,
    /// When the connection that is being made for it is given up; `None` once it stands.
    end_of_opening: Option<Instant>,
    sent: bool,
    /// The address of this end of the connection.
    local: Option<IpAddr>,
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange(Arc::new(Mutex::new(State {
            end: Instant::now(),
            end_of_opening: None,
            sent: false,
            local: None,
        })))
    }
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new request begins, which may take this long.
    pub fn begin(&self, within: Duration) {
        let mut state = self.state();
        state.end = Instant::now() + within;
        state.end_of_opening = None;
        state.sent = false;
    }

    /// The address that requests are sent from, once a connection was made.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.state().local
    }

    /// Whether any of the request may have gone out: its first byte was handed to a connection that
    /// stands, TLS included. Before that, the webservice knows of nothing.
    pub fn is_sent(&self) -> bool {
        self.state().sent
    }

    /// A connection is being made; returns when it is given up. The time for it began with the
    /// look-up of a proxy's name, if there is one.
    fn begin_opening(&self, details: &ConnectionDetails) -> Instant {
        let mut state = self.state();
        let end = match details.now {
            time::Instant::Exact(begun) => begun.checked_add(*details.timeout.after),
            time::Instant::AlreadyHappened | time::Instant::NotHappening => None,
        };
        let end = end.map_or(state.end, |end| end.min(state.end));
        state.end_of_opening = Some(end);
        end
    }

    /// How long the next operation on a socket may take. The client's own timeouts bound each
    /// read from a proxy anew, so that they know no end if it sends a byte now and then.
    fn time_for(&self, timeout: NextTimeout) -> Result<(Duration, Timeout), Error> {
        let State {
            end,
            end_of_opening,
            ..
        } = *self.state();
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        let (after, reason) = match timeout.after {
            time::Duration::Exact(after) if after < left(end) => (after, timeout.reason),
            time::Duration::Exact(_) | time::Duration::NotHappening => (left(end), Timeout::Global),
        };
        let (after, reason) = match end_of_opening.map(left) {
            Some(opening) if opening < after => (opening, Timeout::Connect),
            Some(_) | None => (after, reason),
        };
        match after {
            Duration::ZERO => Err(Error::Timeout(reason)),
            // Less than the kernel can count would be none to it, and so without end.
            after => Ok((after.max(LEAST_WAIT), reason)),
        }
    }
}

/// Opens connections for requests to `target`: through a proxy if the environment has one,
/// with TLS if the url is https.
pub fn connector(target: &Uri, exchange: &Exchange) -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(Tcp {
            exchange: exchange.clone(),
        })
        .chain(RustlsConnector::default())
        .chain(Watch {
            target: target.clone(),
            exchange: exchange.clone(),
        })
}

#[derive(Debug)]
struct Tcp {
    exchange: Exchange,
}

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
        let end = self.exchange.begin_opening(details);
        let socket = connect_any(&details.addrs, end)?;
        socket.set_tcp_nodelay(true)?;
        let local = socket.local_addr().ok().and_then(|local| local.as_socket());
        self.exchange.state().local = local.map(|local| local.ip());
        Ok(Some(Either::B(TcpConnection {
            socket,
            exchange: self.exchange.clone(),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
        })))
    }
}

/// Connects to the first address that answers before the time given for all of them is over.
fn connect_any(addresses: &[SocketAddr], give_up: Instant) -> Result<Uninherited<Socket>, Error> {
    let first_tries = match addresses {
        [_] => [].iter(),
        several => several.iter(),
    };
    let attempts = first_tries
        .map(|address| (address, FIRST_TRY))
        .chain(addresses.iter().map(|address| (address, Duration::MAX)));
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
fn connect(address: SocketAddr, within: Duration) -> io::Result<Uninherited<Socket>> {
    let socket =
        Uninherited::open(|| Socket::new(Domain::for_address(address), Type::STREAM, None))?;
    socket.connect_timeout(&address.into(), within)?;
    Ok(socket)
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
    socket: Uninherited<Socket>,
    exchange: Exchange,
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

    /// Whether nothing is to be read and nobody has hung up.
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
            let (after, reason) = self.exchange.time_for(timeout)?;
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
        let (after, reason) = self.exchange.time_for(timeout)?;
        self.socket.set_read_timeout(Some(after))?;
        let amount = self.read().map_err(|error| named(error, reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.is_silent().unwrap_or(false)
    }
}

/// Ends the chain of connectors.
#[derive(Debug)]
struct Watch {
    target: Uri,
    exchange: Exchange,
}

#[derive(Debug)]
struct Watched<T> {
    transport: T,
    /// `None` on the way to a proxy: what goes there is no request yet.
    exchange: Option<Exchange>,
}

impl<T: Transport> Connector<T> for Watch {
    type Out = Watched<T>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<T>,
    ) -> Result<Option<Watched<T>>, Error> {
        let is_target = *details.uri == self.target;
        if is_target {
            self.exchange.state().end_of_opening = None;
        }
        Ok(chained.map(|transport| Watched {
            transport,
            exchange: is_target.then(|| self.exchange.clone()),
        }))
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(exchange) = &self.exchange {
            exchange.state().sent = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn exchange(left: Duration, left_to_open: Option<Duration>) -> Exchange {
        let exchange = Exchange::default();
        exchange.begin(left);
        exchange.state().end_of_opening = left_to_open.map(|left| Instant::now() + left);
        exchange
    }

    fn time_for(exchange: &Exchange, after: Duration) -> Result<(Duration, Timeout), Error> {
        exchange.time_for(NextTimeout {
            after: time::Duration::Exact(after),
            reason: Timeout::RecvResponse,
            ..NextTimeout::default()
        })
    }

    #[test]
    fn the_first_end_counts() {
        let (short, shorter) = (LONG / 2, LONG / 4);
        let bounded = |exchange: &Exchange, after| {
            let (time, reason) = time_for(exchange, after).unwrap();
            (time <= shorter, reason)
        };
        let by_client = exchange(LONG, Some(short));
        assert_eq!(bounded(&by_client, shorter), (true, Timeout::RecvResponse));
        let by_end = exchange(shorter, None);
        assert_eq!(bounded(&by_end, LONG), (true, Timeout::Global));
        let by_opening = exchange(LONG, Some(shorter));
        assert_eq!(bounded(&by_opening, short), (true, Timeout::Connect));
    }

    #[test]
    fn what_is_over_is_not_waited_for() {
        for over in [
            exchange(Duration::ZERO, None),
            exchange(LONG, Some(Duration::ZERO)),
        ] {
            assert!(matches!(time_for(&over, LONG), Err(Error::Timeout(_))));
        }
    }

    /// To the kernel, no time at all is no bound.
    #[test]
    fn the_least_time_is_some() {
        let exchange = exchange(LONG, None);
        let (time, _) = time_for(&exchange, Duration::from_nanos(1)).unwrap();
        assert_eq!(time, LEAST_WAIT);
    }
}
