//! The mock Robot: the failover part of Hetzner's Robot webservice, for tests and the demo.
//!
//! It serves `GET`, `POST` and `DELETE` on `/failover/{ip}`, `GET /failover` and `GET /server`, with
//! the real service's codes and messages, its login lock-out and its request limits. A switch takes a
//! set time, during which the IP is locked. Everything that can go wrong on the way goes wrong on
//! order: see [`Fault`].
//!
//! Everything observable can be waited for, so that no test needs to sleep:
//!
//! ```
//! use std::time::Duration;
//! use testbed::robot::{Fault, Method, Robot, Settings, When};
//!
//! let robot = Robot::start(Settings::default())?;
//! robot.order(When::Times(Method::Post, 2), Fault::page(503));
//! // ... start a takeover of robot.url("4.4.4.4".parse()?), trusting robot.ca_file() ...
//! robot.wait_for_requests(Method::Post, 3, Duration::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where is what: `mock` connections, faults and the record, `settings` how it starts,
//! `account` what a request means, `resource` the failover IPs, `network` their addresses, `servers`
//! the account's servers, `limits` logins and limits, `errors` error answers, `fault` the same as
//! faults, `event` events.

mod account;
mod errors;
mod event;
mod fault;
mod limits;
mod network;
mod resource;
mod servers;
mod settings;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use crate::mock::{Certificate, Ciphers, Method, Received, Scheme, TlsVersions, Traffic};
pub use event::Event;
pub use fault::Fault;
pub use settings::Settings;

use crate::mock::{self, Server};
use account::Account;

/// A running mock Robot.
pub type Robot = Server<Account>;

/// Which requests a fault applies to.
pub type When = mock::When<Method>;

impl Robot {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, the CA's file cannot be written, or a subnet has no such
    /// failover IP or prefix length.
    pub fn start(settings: Settings) -> io::Result<Robot> {
        Server::run(Account::new(&settings)?, settings.listen())
    }

    /// The URL of a failover IP: `https://localhost:8443/failover/4.4.4.4`.
    pub fn url(&self, ip: IpAddr) -> String {
        self.url_at(self.port(), ip)
    }

    /// The URL of a failover IP at another port, such as that of a relay to this server.
    pub fn url_at(&self, port: u16, ip: IpAddr) -> String {
        format!("{}/failover/{ip}", self.origin_at(port))
    }

    /// The server that a failover IP is routed to; also `None` if there is no such IP.
    pub fn route(&self, ip: IpAddr) -> Option<IpAddr> {
        self.look(|account| account.failovers.route(ip))
    }

    /// Routes a failover IP at once, and ends a switch of it that is running: its POST is then
    /// answered with this route.
    ///
    /// # Panics
    ///
    /// If there is no such failover IP.
    pub fn set_route(&self, ip: IpAddr, server: Option<IpAddr>) {
        let done = self.change(|account| account.set_route(ip, server));
        assert!(done, "{ip} is not a failover IP of this Robot");
    }

    /// Whether failover objects have a `status` from now on.
    pub fn show_status(&self, shown: bool) {
        self.change(|account| account.failovers.shows_status = shown);
    }

    /// How long the switches that begin from now on take.
    pub fn set_switch_time(&self, time: Duration) {
        self.change(|account| account.failovers.switch_time = time);
    }

    /// Changes the webservice user's password.
    pub fn set_password(&self, password: &str) {
        self.change(|account| account.logins.password = password.to_owned());
    }

    /// Locks a failover IP for some time, as if another client was switching it: a POST is answered
    /// with `FAILOVER_LOCKED`, and a GET with the status `processing` if that is wanted. Zero ends
    /// such a lock.
    ///
    /// # Panics
    ///
    /// If there is no such failover IP.
    pub fn lock(&self, ip: IpAddr, time: Duration, processing: bool) {
        let until = Instant::now() + time;
        let done = self.change(|account| account.failovers.lock(ip, until, processing));
        assert!(done, "{ip} is not a failover IP of this Robot");
    }

    /// How many POST requests were received so far.
    pub fn posts(&self) -> usize {
        self.count(Method::Post)
    }

    /// Waits until a failover IP is routed to a server; false if that takes longer than `timeout`.
    pub fn wait_for_route(&self, ip: IpAddr, server: Option<IpAddr>, timeout: Duration) -> bool {
        self.wait(timeout, |account| account.failovers.route(ip) == server)
    }
}
