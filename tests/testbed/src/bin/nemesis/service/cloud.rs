//! What the two kinds of the mock Cloud have in common: servers, tokens and troubles.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use testbed::cloud::{
    Cloud, Event, Fault, FloatingIp, Item, Network, Quirk, Received, Refusal, Requests, Server,
    Settings, When,
};

use super::wrong_secret;
use crate::setup::Setup;
use crate::timeline::Timeline;
use crate::trouble::Trouble;

/// As many as a round has nodes at most.
pub const SERVERS: usize = 5;
/// The id of the first server.
const FIRST_SERVER: u64 = 42;
pub const NETWORK: u64 = 7;
const NETWORK_NAME: &str = "backend";

/// How all tokens begin. A node's own follows, so that its requests are known.
const TOKEN: &str = "n3mCloudToken0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";

/// How long somebody else's action is at most.
const LONGEST_LOCK: Duration = Duration::from_secs(60);
/// More than a round sends, if it is not drained.
const REQUESTS: u32 = 3600;

/// The mock Cloud of a round.
pub struct Project {
    pub cloud: Cloud,
    /// What is locked while all is.
    locked: Vec<Item>,
    setup: Setup,
}

pub fn id(server: usize) -> u64 {
    FIRST_SERVER + server as u64
}

pub fn number_of(id: u64) -> Option<usize> {
    let mut all = 0..SERVERS;
    all.find(|server| self::id(*server) == id)
}

fn name(server: usize) -> String {
    format!("node{}", server + 1)
}

fn token(node: usize) -> String {
    format!("{TOKEN}{node}")
}

/// The node that sent a request, by its token, and whether that is its wrong one.
pub fn sender(request: &Received) -> Option<(usize, bool)> {
    let bearer = request.bearer()?;
    let mut all = 0..SERVERS;
    let node = all.find(|node| bearer == token(*node) || bearer == wrong_secret(*node))?;
    Some((node, bearer == wrong_secret(node)))
}

impl Project {
    /// One in which servers have these aliases, and nobody has the Floating IPs yet. `locked` is what an
    /// action of somebody else locks.
    pub fn start(
        setup: &Setup,
        floating_ips: Vec<FloatingIp>,
        aliases: &[Vec<Ipv4Addr>],
        locked: Vec<Item>,
    ) -> io::Result<Project> {
        let servers = aliases.iter().enumerate().map(|(server, aliases)| {
            let host = u8::try_from(server + 2).expect("a few servers");
            let own = Ipv4Addr::new(10, 0, 1, host);
            Server::new(id(server), &name(server)).attached(NETWORK, own, aliases)
        });
        let range = Ipv4Addr::new(10, 0, 0, 0);
        let cloud = Cloud::start(Settings {
            token: format!("{TOKEN}*"),
            floating_ips,
            servers: servers.collect(),
            networks: vec![Network::new(NETWORK, NETWORK_NAME, range, 16)],
            action_time: setup.switch_time,
            release_time: setup.release_time,
            rate_limit: Some(REQUESTS),
            ..Settings::default()
        })?;
        let setup = setup.clone();
        Ok(Project {
            cloud,
            locked,
            setup,
        })
    }

    pub fn timeline(&self) -> Timeline {
        Timeline::follow(self.cloud.events(), |event| match event {
            Event::Moved { ip, to } => Some((*ip, to.and_then(number_of))),
            _ => None,
        })
    }

    /// The action with this name.
    pub fn action(
        &self,
        action: &str,
        node: usize,
        port: u16,
        ips: &[IpAddr],
        token_file: &Path,
    ) -> String {
        let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        format!(
            "{action}:token_file={},ip={},server={},endpoint={},ca_file={},timeout={},\
             deadline={},watch_action={}",
            token_file.display(),
            ips.join(" "),
            self.server_key(node),
            self.cloud.endpoint_at(port),
            self.cloud.ca_file().display(),
            self.setup.timeout,
            self.setup.deadline,
            self.setup.watch_action(),
        )
    }

    fn server_key(&self, node: usize) -> String {
        match self.setup.by_name {
            true => name(node),
            false => id(node).to_string(),
        }
    }

    /// What the key `network` is.
    pub fn network_key(&self) -> String {
        match self.setup.by_name {
            true => NETWORK_NAME.into(),
            false => NETWORK.to_string(),
        }
    }

    pub fn secret(node: usize) -> String {
        token(node)
    }

    pub fn secrets() -> Vec<String> {
        vec![TOKEN.into()]
    }

    pub fn title(&self, node: usize) -> String {
        format!("server {}", self.server_key(node))
    }

    pub fn holder(&self, ip: IpAddr) -> Option<usize> {
        self.cloud.holder(ip).and_then(number_of)
    }

    /// Makes the service so. `misreads` are the reads that may show an address at no server.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        self.heal();
        if let Some(trouble) = trouble {
            self.suffer(trouble);
        }
    }

    fn heal(&self) {
        self.cloud.clear_orders();
        for item in self.items() {
            self.cloud.lock(item, Duration::ZERO);
        }
        self.cloud.set_action_time(self.setup.switch_time);
        self.cloud.set_release_time(self.setup.release_time);
        self.cloud.set_requests_left(REQUESTS);
    }

    fn items(&self) -> impl Iterator<Item = Item> {
        let servers = (0..SERVERS).map(|server| Item::Server(id(server)));
        servers.chain(self.locked.iter().copied())
    }

    fn suffer(&self, trouble: Trouble) {
        let cloud = &self.cloud;
        let always = |requests, fault: Fault| cloud.order(When::Always(requests), fault);
        let changes = |fault: Fault| always(Requests::CHANGES, fault);
        match trouble {
            Trouble::Locked => {
                for item in &self.locked {
                    cloud.lock(*item, LONGEST_LOCK);
                }
            }
            Trouble::ServerLocked { node } => cloud.lock(Item::Server(id(node)), LONGEST_LOCK),
            Trouble::Slow(time) => cloud.set_action_time(time),
            Trouble::Unanswered => changes(Fault::lost()),
            Trouble::TimedOut => {
                let answer = Fault::from(Refusal::Timeout);
                changes(Fault::WhileSwitching(Box::new(answer)));
            }
            Trouble::Unavailable => always(Requests::ALL, Refusal::Unavailable.into()),
            Trouble::RateLimited => always(Requests::ALL, Refusal::RateLimitExceeded.into()),
            Trouble::Drained => cloud.set_requests_left(0),
            Trouble::Failing { applied: false } => changes(Fault::action_fails()),
            Trouble::Failing { applied: true } => changes(Fault::action_fails_applied()),
            Trouble::WithoutEffect => changes(Quirk::ActionWithoutEffect.into()),
            Trouble::Stale(lag) => changes(Quirk::StaleReads(lag).into()),
            Trouble::Misread => always(Requests::FLOATING_IP, Quirk::BadRead(None).into()),
            Trouble::Unreleased(time) => cloud.set_release_time(time),
            // It is not planned for the Cloud, whose changes are always answered at once.
            Trouble::Early => {}
        }
    }
}
