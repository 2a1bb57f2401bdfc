//! The request that is under way: how long it may still take, and whether any of it was sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{ConnectionDetails, NextTimeout, time};
use ureq::{Error, Timeout};

/// The shortest wait for a socket.
const MIN_WAIT: Duration = Duration::from_micros(1);

/// The state of the current request, shared between the client and its connections. There is one
/// request at a time.
#[derive(Debug, Clone)]
pub struct CurrentRequest(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// When the request is given up.
    end: Instant,
    /// When the connection that is being opened for it is given up; `None` once it is open.
    end_of_opening: Option<Instant>,
    is_sent: bool,
    local_address: Option<IpAddr>,
    remote_address: Option<SocketAddr>,
}

impl Default for CurrentRequest {
    fn default() -> CurrentRequest {
        CurrentRequest(Arc::new(Mutex::new(State {
            end: Instant::now(),
            end_of_opening: None,
            is_sent: false,
            local_address: None,
            remote_address: None,
        })))
    }
}

impl CurrentRequest {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a new request, which is given up after `within`.
    pub fn begin(&self, within: Duration) {
        let mut state = self.state();
        state.end = Instant::now() + within;
        state.end_of_opening = None;
        state.is_sent = false;
    }

    /// Whether any of the request may have been sent: its first byte was handed to an open
    /// connection, TLS included. Before that, the webservice knows nothing of it.
    pub fn is_sent(&self) -> bool {
        self.state().is_sent
    }

    pub fn note_sent(&self) {
        self.state().is_sent = true;
    }

    /// The address that requests are sent from, once there was a connection.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.state().local_address
    }

    pub fn note_local_address(&self, address: Option<IpAddr>) {
        self.state().local_address = address;
    }

    /// The address that requests are sent to, the proxy's if there is one, once there was a
    /// connection.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.state().remote_address
    }

    pub fn note_remote_address(&self, address: Option<SocketAddr>) {
        self.state().remote_address = address;
    }

    /// A connection is being opened; returns when it is given up. Its time includes the lookup of
    /// the proxy's name, if there is a proxy.
    pub fn begin_opening(&self, details: &ConnectionDetails) -> Instant {
        let mut state = self.state();
        let end = match details.now {
            time::Instant::Exact(begun) => begun.checked_add(*details.timeout.after),
            time::Instant::AlreadyHappened | time::Instant::NotHappening => None,
        };
        let end = end.map_or(state.end, |end| end.min(state.end));
        state.end_of_opening = Some(end);
        end
    }

    /// The connection is open.
    pub fn end_opening(&self) {
        self.state().end_of_opening = None;
    }

    /// How long the next operation on a socket may take, and which timeout that is.
    ///
    /// This works around a fault of ureq 3.5.2: its `ConnectProxyConnector` (transport/connect.rs)
    /// passes the same `details.timeout`, what was left when connecting began, to every read of the
    /// proxy's answer to `CONNECT`. A proxy that sends a byte now and then would be waited for
    /// forever. Once ureq passes the time that is left, `timeout` alone is enough, and the two
    /// ends that are kept here can go. The test `proxy_that_answers_without_end_is_no_connection`
    /// shows whether it does.
    ///
    /// # Errors
    /// No time is left.
    pub fn time_for(&self, timeout: NextTimeout) -> Result<(Duration, Timeout), Error> {
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
            // The kernel rounds down to microseconds, and takes 0 for no limit at all.
            after => Ok((after.max(MIN_WAIT), reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn request(left: Duration, left_to_open: Option<Duration>) -> CurrentRequest {
        let request = CurrentRequest::default();
        request.begin(left);
        request.state().end_of_opening = left_to_open.map(|left| Instant::now() + left);
        request
    }

    fn time_for(request: &CurrentRequest, after: Duration) -> Result<(Duration, Timeout), Error> {
        request.time_for(NextTimeout {
            after: time::Duration::Exact(after),
            reason: Timeout::RecvResponse,
            ..NextTimeout::default()
        })
    }

    #[test]
    fn the_first_end_counts() {
        let (short, shorter) = (LONG / 2, LONG / 4);
        let bounded = |request: &CurrentRequest, after| {
            let (time, reason) = time_for(request, after).unwrap();
            (time <= shorter, reason)
        };
        let by_client = request(LONG, Some(short));
        assert_eq!(bounded(&by_client, shorter), (true, Timeout::RecvResponse));
        let by_end = request(shorter, None);
        assert_eq!(bounded(&by_end, LONG), (true, Timeout::Global));
        let by_opening = request(LONG, Some(shorter));
        assert_eq!(bounded(&by_opening, short), (true, Timeout::Connect));
    }

    #[test]
    fn there_is_no_wait_when_no_time_is_left() {
        for over in [
            request(Duration::ZERO, None),
            request(LONG, Some(Duration::ZERO)),
        ] {
            assert!(matches!(time_for(&over, LONG), Err(Error::Timeout(_))));
        }
    }

    /// To the kernel, 0 is no limit.
    #[test]
    fn the_shortest_wait_is_not_zero() {
        let request = request(LONG, None);
        let (time, _) = time_for(&request, Duration::from_nanos(1)).unwrap();
        assert_eq!(time, MIN_WAIT);
    }
}
