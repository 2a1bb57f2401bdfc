//! How a mock Cloud starts: the project, and the service's habits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::errors::Refusal;
use crate::mock::Listen;

/// How a [`Cloud`](super::Cloud) starts. Most of it can be changed while it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where and how it listens: HTTPS on a free port of 127.0.0.1 by default.
    pub listen: Listen,
    /// The project's token; 64 characters by default.
    /// With a `*` at its end, it stands for all tokens that begin so.
    pub token: String,
    /// The token's access, [`Access::ReadWrite`] by default.
    pub access: Access,
    /// The Floating IPs: by default 4711, `131.232.99.1`, and 4712, `2001:db8::/64`, both assigned to
    /// server 42.
    pub floating_ips: Vec<FloatingIp>,
    /// The servers: by default 42, 43 and 44 (`node1` to `node3`), attached to Network 7 as
    /// `10.0.1.2`, `10.0.1.3` and `10.0.1.4`. The first has the alias IP `10.0.0.100`.
    pub servers: Vec<Server>,
    /// The Networks: by default 7, `net`, `10.0.0.0/16`.
    pub networks: Vec<Network>,
    /// How long an action runs; zero by default, a few seconds in the real service. It is answered at
    /// once, and changes something when it ends. Until then its item and its server are locked.
    pub action_time: Duration,
    /// How long an alias IP that was taken off a server stays unavailable to others; zero by default.
    pub release_time: Duration,
    /// The refusal in that time, [`Refusal::NoSubnetAvailable`] by default.
    pub unreleased: Refusal,
    /// Requests that may be sent at once before `rate_limit_exceeded`, and in an hour; one is regained
    /// each second. 3600 by default, `None` for no limit.
    pub rate_limit: Option<u32>,
    /// Whether a successful action has an `error` as well, as in the documentation's examples; not by
    /// default.
    pub error_beside_success: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        let server = |id, name: &str, host| {
            Server::new(id, name).attached(7, Ipv4Addr::new(10, 0, 1, host), &[])
        };
        let mut servers = vec![
            server(42, "node1", 2),
            server(43, "node2", 3),
            server(44, "node3", 4),
        ];
        servers[0].private[0].aliases = vec![Ipv4Addr::new(10, 0, 0, 100)];
        let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
        Settings {
            listen: Listen::default(),
            token: "token0123456789abcdefghijABCDEFGHIJ".repeat(2)[..64].to_owned(),
            access: Access::ReadWrite,
            floating_ips: vec![
                FloatingIp::new(4711, Ipv4Addr::new(131, 232, 99, 1).into(), Some(42)),
                FloatingIp::new(4712, six.into(), Some(42)),
            ],
            servers,
            networks: vec![Network::new(7, "net", Ipv4Addr::new(10, 0, 0, 0), 16)],
            action_time: Duration::ZERO,
            release_time: Duration::ZERO,
            unreleased: Refusal::NoSubnetAvailable,
            rate_limit: Some(3600),
            error_beside_success: false,
        }
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Everything.
    ReadWrite,
}

/// A Floating IP.
#[derive(Debug, Clone)]
pub struct FloatingIp {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its address; for IPv6 the first of its /64.
    pub ip: IpAddr,
    /// The server that it is assigned to.
    pub server: Option<u64>,
    /// Whether Hetzner has locked it.
    pub blocked: bool,
}

impl FloatingIp {
    /// One named after its id.
    pub fn new(id: u64, ip: IpAddr, server: Option<u64>) -> FloatingIp {
        FloatingIp {
            id,
            name: format!("floating-ip-{id}"),
            ip,
            server,
            blocked: false,
        }
    }
}

/// A cloud server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The Networks that it is attached to.
    pub private: Vec<Attachment>,
}

impl Server {
    /// One that is attached to no Network.
    pub fn new(id: u64, name: &str) -> Server {
        Server {
            id,
            name: name.to_owned(),
            private: Vec::new(),
        }
    }

    /// The same, attached to a further Network.
    #[must_use]
    pub fn attached(mut self, network: u64, ip: Ipv4Addr, aliases: &[Ipv4Addr]) -> Server {
        self.private.push(Attachment {
            network,
            ip,
            aliases: aliases.to_vec(),
        });
        self
    }
}

/// A server in a Network.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The Network.
    pub network: u64,
    /// The server's own address there.
    pub ip: Ipv4Addr,
    /// Its alias IPs there.
    pub aliases: Vec<Ipv4Addr>,
}

/// A private Network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The first address of its range.
    pub ip: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
}

impl Network {
    /// One with this range.
    pub fn new(id: u64, name: &str, ip: Ipv4Addr, prefix: u8) -> Network {
        Network {
            id,
            name: name.to_owned(),
            ip,
            prefix,
        }
    }

    pub(super) fn contains(&self, ip: Ipv4Addr) -> bool {
        let hosts = 32 - u32::from(self.prefix.min(32));
        let mask = u32::MAX.checked_shl(hosts).unwrap_or(0);
        ip.to_bits() & mask == self.ip.to_bits() & mask
    }
}
