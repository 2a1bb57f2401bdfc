//! Three servers, a router and a client, each in a network namespace of its own.
//!
//! ```text
//!   server 1 1.1.1.1 ---+
//!   server 2 2.2.2.2 ---+--- router, webservice 192.0.2.80 --- client 198.51.100.2
//!   server 3 3.3.3.3 ---+
//! ```
//!
//! The failover IP is configured on all three servers; the router's route decides which one gets it.
//! `cage` runs a program in namespaces that end with it, `namespace` is one network namespace, `route`
//! follows a mock service, `web` answers on the servers, and `client` asks who does.

pub mod cage;
mod client;
mod namespace;
mod route;
pub mod web;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

pub use client::{Answer, Client};
pub use namespace::{Namespace, ip, isolate};
use route::route;
pub use route::{Move, Moves};

/// The failover IP.
pub const FAILOVER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(4, 4, 4, 4));
/// The webservice's address, which is the router's own.
pub const WEBSERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// How many servers there are.
pub const SERVERS: usize = 3;

/// The server with this main IP.
pub fn server_with(ip: IpAddr) -> Option<usize> {
    (0..SERVERS).find(|&server| main_ip(server) == ip)
}

/// The main IP of a server, counted from 0: 1.1.1.1, 2.2.2.2, 3.3.3.3.
pub fn main_ip(server: usize) -> IpAddr {
    let n = server as u8 + 1;
    IpAddr::from([n, n, n, n])
}

/// The servers and the client around a router.
pub struct Network {
    /// The servers.
    pub servers: Vec<Namespace>,
    /// The client.
    pub client: Namespace,
}

impl Network {
    /// Builds everything around a new namespace, which becomes this thread's and is the router. What
    /// this thread starts from now on is in it. The failover IP leads nowhere yet.
    ///
    /// # Errors
    /// A namespace or a device cannot be created; that needs root, `ip`, and a kernel with veth.
    pub fn build() -> io::Result<Network> {
        isolate()?;
        ip(&format!("address add {WEBSERVICE}/32 dev lo"))?;
        // These files are those of the calling thread's network namespace.
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")?;
        let attach = |name: &str, host: &str, router: &str| -> io::Result<Namespace> {
            let namespace = Namespace::new(name)?;
            let inside = namespace.path();
            ip(&format!(
                "link add {name} type veth peer name eth0 netns {inside}"
            ))?;
            ip(&format!("address add {router}/24 dev {name}"))?;
            ip(&format!("link set {name} up"))?;
            namespace.ip(&format!("address add {host}/24 dev eth0"))?;
            namespace.ip("link set eth0 up")?;
            namespace.ip(&format!("route add default via {router}"))?;
            Ok(namespace)
        };
        let servers = (0..SERVERS).map(|server| {
            let n = server + 1;
            let name = format!("server{n}");
            let namespace = attach(
                &name,
                &main_ip(server).to_string(),
                &format!("{n}.{n}.{n}.254"),
            )?;
            namespace.ip(&format!("address add {FAILOVER_IP}/32 dev lo"))?;
            Ok(namespace)
        });
        let servers = servers.collect::<io::Result<_>>()?;
        let client = attach("client", "198.51.100.2", "198.51.100.1")?;
        route(None)?;
        Ok(Network { servers, client })
    }

    /// Cuts a server off, as a power cut does: its cable carries nothing any more.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn cut(&self, server: usize) -> io::Result<()> {
        self.servers[server].ip("link set eth0 down")
    }

    /// Connects a server, if it is not.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn connect(&self, server: usize) -> io::Result<()> {
        let n = server + 1;
        self.servers[server].ip("link set eth0 up")?;
        // It goes with the link.
        self.servers[server].ip(&format!("route replace default via {n}.{n}.{n}.254"))
    }
}
