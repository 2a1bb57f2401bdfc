//! How a mock Robot starts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::mock::{Certificate, Ciphers, Listen, Scheme, TlsVersions};

/// How a [`Robot`](super::Robot) starts. Most of it can be changed while it runs.
///
/// ```
/// # use testbed::robot::{Robot, Settings};
/// # use std::time::Duration;
/// let robot = Robot::start(Settings {
///     switch_time: Duration::from_secs(3),
///     ..Settings::default()
/// });
/// # assert!(robot.is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 (the default, on 127.0.0.1) takes a free one.
    pub address: SocketAddr,
    /// HTTPS by default.
    pub scheme: Scheme,
    /// The server's certificate; a valid one by default.
    pub certificate: Certificate,
    /// The TLS versions it speaks; all by default.
    pub tls: TlsVersions,
    /// The ciphers it accepts; all by default.
    pub ciphers: Ciphers,
    /// Where to write the CA's certificate (PEM). By default in a world-readable temporary directory
    /// that is removed when the Robot is dropped.
    pub ca_file: Option<PathBuf>,
    /// The webservice user, `FOO` by default.
    /// With a `*` at its end, all users whose names begin so have that password.
    pub username: String,
    /// The password of that user, `BAR` by default.
    pub password: String,
    /// The account's failover IPs, and the server each is routed to at start.
    /// By default `4.4.4.4`, routed to `2.2.2.2`.
    pub failovers: Vec<(IpAddr, Option<IpAddr>)>,
    /// The prefix lengths of those failover IPs that are subnets: `(4.4.4.0, 29)`, the network
    /// address as in `failovers`. An IPv4 subnet is switched as a whole, by any of its addresses. Empty
    /// by default; IPv6 subnets are a /64 unless they are listed here.
    pub subnets: Vec<(IpAddr, u8)>,
    /// The account's servers, by default `1.1.1.1`, `2.2.2.2` and `3.3.3.3`. A switch to another
    /// address is answered with `FAILOVER_NEW_SERVER_NOT_FOUND`.
    pub servers: Vec<IpAddr>,
    /// The main IPv6 subnets of servers, each with the server's IPv4 address; none by default. An
    /// IPv6 subnet can be switched to them.
    pub ipv6_nets: Vec<(IpAddr, Ipv6Addr)>,
    /// How long a switch takes; zero by default, 40 to 110 s in the real Robot. A POST is
    /// answered when the switch is done, unless [`Fault::early`](super::Fault::early) or
    /// [`Fault::lost`](super::Fault::lost) is ordered. Until then the IP is locked, and a GET finds
    /// it `processing` and still routed to the old server.
    pub switch_time: Duration,
    /// Whether a failover object has a `status`, as it does by default. It is not in the
    /// documentation.
    pub shows_status: bool,
    /// How long an address only gets 401 after three failed logins; 10 minutes by default.
    pub lockout: Duration,
    /// POST requests within an hour before `RATE_LIMIT_EXCEEDED`: 50 by default, `None` for no
    /// limit. DELETE requests have the same limit, counted on their own.
    pub posts_per_hour: Option<u32>,
    /// GET requests within an hour before `RATE_LIMIT_EXCEEDED`: 100 by default, `None` for no
    /// limit. `GET /server` has a limit of its own, 200.
    pub gets_per_hour: Option<u32>,
    /// How long a connection may stay idle, between two requests or within one, before the server
    /// closes it; 60 s by default.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        let server = |n| IpAddr::from(Ipv4Addr::new(n, n, n, n));
        Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            scheme: Scheme::Https,
            certificate: Certificate::Valid,
            tls: TlsVersions::Any,
            ciphers: Ciphers::Any,
            ca_file: None,
            username: "FOO".to_owned(),
            password: "BAR".to_owned(),
            failovers: vec![(server(4), Some(server(2)))],
            subnets: Vec::new(),
            servers: vec![server(1), server(2), server(3)],
            ipv6_nets: Vec::new(),
            switch_time: Duration::ZERO,
            shows_status: true,
            lockout: Duration::from_secs(600),
            posts_per_hour: Some(50),
            gets_per_hour: Some(100),
            idle: Duration::from_secs(60),
        }
    }
}

impl Settings {
    pub(super) fn listen(&self) -> Listen {
        Listen {
            address: self.address,
            scheme: self.scheme,
            certificate: self.certificate,
            tls: self.tls,
            ciphers: self.ciphers,
            ca_file: self.ca_file.clone(),
            idle: self.idle,
        }
    }
}
