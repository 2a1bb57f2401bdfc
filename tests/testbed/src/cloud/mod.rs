//! The mock Cloud: the part of the Hetzner Cloud API that moves Floating IPs and alias IPs, for tests
//! and the demo.
//!
//! It serves `/floating_ips`, `/servers`, `/networks` and `/actions` below `/v1`, with the real
//! service's codes, pages and request limit. An action is answered at once, runs for a set time and
//! locks what it is about; only then the address is elsewhere. Everything that can go wrong goes wrong
//! on order: see [`Fault`], [`Quirk`] and [`Refusal`].
//!
//! Everything observable can be waited for, so that no test needs to sleep:
//!
//! ```
//! use std::time::Duration;
//! use testbed::cloud::{Cloud, Refusal, Requests, Settings, When};
//!
//! let cloud = Cloud::start(Settings::default())?;
//! cloud.order(When::Times(Requests::ASSIGN, 2), Refusal::Locked);
//! // ... start a takeover at cloud.endpoint(), trusting cloud.ca_file() ...
//! cloud.wait_for_holder("131.232.99.1".parse()?, Some(43), Duration::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where is what: `mock` connections, faults and the record, `settings` how it starts, `requests`
//! routes and patterns of them, `project` what a request means, `plan` what a POST would do,
//! `inventory` where the addresses are, `objects` how reads show them, `actions` actions and locks,
//! `page` lists, `rate` the request limit, `errors` error answers, `fault` faults, `event` events,
//! `metadata` the service that a server asks about itself.

mod actions;
mod errors;
mod event;
mod fault;
mod inventory;
mod metadata;
mod objects;
mod page;
mod plan;
mod project;
mod rate;
mod requests;
mod settings;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::json;

pub use crate::mock::{
    Certificate, Ciphers, Listen, Method, Received, Scheme, TlsVersions, Traffic,
};
pub use actions::{Action, Item, Status};
pub use errors::Refusal;
pub use event::Event;
pub use fault::{Fault, Quirk};
pub use metadata::Metadata;
pub use requests::Requests;
pub use settings::{Access, Attachment, FloatingIp, Network, Server, Settings};

use crate::mock;
use inventory::Effect;
use project::Project;
use requests::Route;

/// A running mock Cloud.
pub type Cloud = mock::Server<Project>;

/// Which requests a fault applies to.
pub type When = mock::When<Requests>;

impl Cloud {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or the CA's file cannot be written.
    pub fn start(settings: Settings) -> io::Result<Cloud> {
        mock::Server::run(Project::new(&settings), settings.listen)
    }

    /// The API's base URL: `https://localhost:8443/v1`.
    pub fn endpoint(&self) -> String {
        self.endpoint_at(self.port())
    }

    /// The API's base URL at another port, such as that of a relay to this server.
    pub fn endpoint_at(&self, port: u16) -> String {
        format!("{}{}", self.origin_at(port), requests::BASE)
    }

    /// The server that a Floating IP or an alias IP is at, whatever reads show; also `None` if there
    /// is no such address.
    pub fn holder(&self, ip: IpAddr) -> Option<u64> {
        self.look(|project| project.inventory.holder(ip))
    }

    /// Waits until a Floating IP or an alias IP is at a server; false if that takes longer than
    /// `timeout`.
    pub fn wait_for_holder(&self, ip: IpAddr, server: Option<u64>, timeout: Duration) -> bool {
        self.wait(timeout, |project| project.inventory.holder(ip) == server)
    }

    /// Assigns a Floating IP at once, or unassigns it, without an action.
    ///
    /// # Panics
    ///
    /// If there is no such Floating IP.
    pub fn set_holder(&self, ip: IpAddr, server: Option<u64>) {
        let id = self.look(|project| project.inventory.floating_ip_at(ip));
        let Some(floating_ip) = id else {
            panic!("{ip} is not a Floating IP of this project");
        };
        self.apply(Effect::Assign {
            floating_ip,
            server,
        });
    }

    /// The alias IPs of a server in a Network, whatever reads show.
    pub fn aliases(&self, server: u64, network: u64) -> Vec<Ipv4Addr> {
        self.look(|project| {
            let aliases = project.inventory.aliases(server, network);
            aliases.unwrap_or_default().to_vec()
        })
    }

    /// Waits until a server has these alias IPs in a Network, in this order; false if that takes
    /// longer than `timeout`.
    pub fn wait_for_aliases(
        &self,
        server: u64,
        network: u64,
        ips: &[Ipv4Addr],
        timeout: Duration,
    ) -> bool {
        self.wait(timeout, |project| {
            project.inventory.aliases(server, network) == Some(ips)
        })
    }

    /// Replaces the alias IPs of a server in a Network at once, without an action.
    ///
    /// # Panics
    ///
    /// If the server is not attached to the Network.
    pub fn set_aliases(&self, server: u64, network: u64, ips: &[Ipv4Addr]) {
        let attached = self.look(|project| project.inventory.aliases(server, network).is_some());
        assert!(attached, "{server} is not attached to Network {network}");
        self.apply(Effect::Aliases {
            server,
            network,
            ips: ips.to_vec(),
        });
    }

    /// Edits the alias IPs of a server in a Network at once, as another client of the API would: `false`
    /// if the API refuses it, because the server is locked or an address is not available.
    pub fn edit_aliases(
        &self,
        server: u64,
        network: u64,
        edit: impl FnOnce(&mut Vec<Ipv4Addr>),
    ) -> bool {
        self.change(|project| {
            let mut ips = match project.inventory.aliases(server, network) {
                Some(ips) => ips.to_vec(),
                None => return false,
            };
            edit(&mut ips);
            let body = json!({"network": network, "alias_ips": ips}).to_string();
            let (route, now) = (Route::ChangeAliasIps(server), Instant::now());
            let planned = project.plan(route, body.as_bytes(), now);
            let is_allowed = planned.is_ok();
            if let Ok(plan) = planned {
                project.apply(plan.effect, now);
            }
            is_allowed
        })
    }

    fn apply(&self, effect: Effect) {
        self.change(|project| project.apply(effect, Instant::now()));
    }

    /// The actions so far, in the order in which they began.
    pub fn actions(&self) -> Vec<Action> {
        self.look(|project| project.actions.all.clone())
    }

    /// Waits until `n` actions have begun since the start; false if that takes longer than `timeout`.
    pub fn wait_for_actions(&self, n: usize, timeout: Duration) -> bool {
        self.wait(timeout, |project| project.actions.all.len() >= n)
    }

    /// Waits until `n` actions have ended since the start, well or not; false if that takes longer
    /// than `timeout`.
    pub fn wait_for_ended_actions(&self, n: usize, timeout: Duration) -> bool {
        let ended = |action: &&Action| action.status != Status::Running;
        self.wait(timeout, |project| {
            project.actions.all.iter().filter(ended).count() >= n
        })
    }

    /// Ends all running actions now.
    pub fn end_actions(&self) {
        self.change(|project| project.end_actions(None, Instant::now()));
    }

    /// How long the actions that begin from now on run.
    pub fn set_action_time(&self, time: Duration) {
        self.change(|project| project.actions.time = time);
    }

    /// How long alias IPs that are taken off a server from now on stay unavailable to others.
    pub fn set_release_time(&self, time: Duration) {
        self.change(|project| project.inventory.release_time = time);
    }

    /// Locks a server or a Floating IP for some time, as a backup or a rescale does. Zero ends such a
    /// lock.
    pub fn lock(&self, item: Item, time: Duration) {
        let until = Instant::now() + time;
        self.change(|project| project.actions.lock(item, until));
    }

    /// Changes the token.
    pub fn set_token(&self, token: &str) {
        self.change(|project| project.token = token.to_owned());
    }

    /// Changes what the token may do.
    pub fn set_access(&self, access: Access) {
        self.change(|project| project.access = access);
    }

    /// How many requests are left, as if others had sent the rest. One is regained each second.
    pub fn set_requests_left(&self, left: u32) {
        self.change(|project| project.rate.set_left(left, Instant::now()));
    }

    /// How many POST requests were received so far.
    pub fn posts(&self) -> usize {
        self.count(Requests::CHANGES)
    }
}
