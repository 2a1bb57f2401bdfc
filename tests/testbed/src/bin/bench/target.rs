//! The mock Robot, and the legion actions that switch its failover IP.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testbed::robot::{Robot, Settings};

use crate::Result;

const FAILOVER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(4, 4, 4, 4));
/// The active server IPs.
pub const SERVERS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(1, 1, 1, 1),
    Ipv4Addr::new(2, 2, 2, 2),
    Ipv4Addr::new(3, 3, 3, 3),
];

pub struct Target {
    pub robot: Robot,
    pub host: String,
}

impl Target {
    /// Starts a mock Robot. Its URL contains the host: an address of its own or `localhost`.
    pub fn start(host: &str, switch_time: Duration) -> Result<Target> {
        let address: Ipv4Addr = host.parse().unwrap_or(Ipv4Addr::LOCALHOST);
        let robot = Robot::start(Settings {
            address: (address, 0).into(),
            failovers: vec![(FAILOVER_IP, None)],
            switch_time,
            username: "FOO*".into(),
            posts_per_hour: None,
            gets_per_hour: None,
            ..Settings::default()
        })?;
        let host = host.into();
        Ok(Target { robot, host })
    }

    fn url(&self) -> String {
        let (host, port) = (&self.host, self.robot.port());
        format!("https://{host}:{port}/failover/{FAILOVER_IP}")
    }

    /// The plugin's action, which trusts the system's certificates. In each round it is another
    /// account and another URL, because a takeover is measured as the first of its process: the
    /// plugin looks first where it has routed the IP before, and counts requests for each account.
    pub fn plugin(&self, server: Ipv4Addr) -> String {
        let url = self.url();
        format!(
            "hetzner-failoverip:username=FOO~,password=BAR,ip={FAILOVER_IP},active_ip={server},url={url}?{server}~"
        )
    }

    /// The plugin's action, which trusts only the mock Robot's CA.
    pub fn plugin_with_ca(&self, server: Ipv4Addr) -> String {
        let ca = self.robot.ca_file().display();
        format!("{},ca_file={ca}", self.plugin(server))
    }

    /// The same with curl. The time limit ends a curl that outlives an interrupted benchmark.
    pub fn curl_with_ca(&self, server: Ipv4Addr) -> String {
        let (ca, url) = (self.robot.ca_file().display(), self.url());
        format!("cmd:curl -sSf -m 10 -u FOO:BAR --cacert {ca} -d active_server_ip={server} {url}")
    }

    /// Waits until the failover IP is routed to a server.
    pub fn wait_for_route(&self, server: Ipv4Addr, patience: Duration) -> Result<()> {
        let server = IpAddr::from(server);
        match self
            .robot
            .wait_for_route(FAILOVER_IP, Some(server), patience)
        {
            true => Ok(()),
            false => Err(format!("the failover IP was not routed to {server}").into()),
        }
    }
}
