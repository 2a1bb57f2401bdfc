//! `hetzner-floatingip` and `hetzner-aliasip` in a real uWSGI and over TLS, against the mock Cloud.

pub mod alias;
pub mod boot;
pub mod by_hand;
pub mod legion;
pub mod metadata;
pub mod moves;
pub mod rows;
pub mod secrets;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testbed::cloud::{Cloud, Received, Requests, Settings};
use testbed::uwsgi::{Node, PATIENCE};

use crate::context::{Context, ip, lone_node, wait, wait_any};

/// Short enough for a test, long enough for every fault that passes.
pub const SHORT: &str = "timeout=4,deadline=40";

/// The server that the addresses are to be moved to, and the one that they are at before.
pub const HERE: u64 = 43;
pub const THERE: u64 = 42;
pub const NETWORK: u64 = 7;

/// What is moved: `131.232.99.1`, or `10.0.0.100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Floating,
    Alias,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Floating, Kind::Alias];

    pub fn action(self) -> &'static str {
        match self {
            Kind::Floating => "hetzner-floatingip",
            Kind::Alias => "hetzner-aliasip",
        }
    }

    pub fn ip(self) -> IpAddr {
        match self {
            Kind::Floating => ip("131.232.99.1"),
            Kind::Alias => ip("10.0.0.100"),
        }
    }

    /// The requests that change something.
    pub fn changes(self) -> Requests {
        match self {
            Kind::Floating => Requests::ASSIGN,
            Kind::Alias => Requests::CHANGE_ALIAS_IPS,
        }
    }

    /// How many of them a move takes.
    pub fn steps(self) -> usize {
        match self {
            Kind::Floating => 1,
            Kind::Alias => 2,
        }
    }
}

/// Does this with every kind at the same time.
pub fn side_by_side(judge: impl Fn(Kind) + Sync) {
    std::thread::scope(|scope| {
        let judge = &judge;
        let running = Kind::ALL.map(|kind| scope.spawn(move || judge(kind)));
        for judged in running {
            if let Err(panic) = judged.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// The alias IPs that nobody moves: of the server that the address is at before, and of the other.
const OTHERS: [(u64, &[Ipv4Addr]); 2] = [
    (
        THERE,
        &[Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(10, 0, 0, 9)],
    ),
    (HERE, &[Ipv4Addr::new(10, 0, 0, 8)]),
];

/// A mock Cloud whose servers have other alias IPs, too.
pub fn cloud() -> Cloud {
    cloud_with(|_| {})
}

pub fn cloud_with(adapt: impl FnOnce(&mut Settings)) -> Cloud {
    let mut settings = Settings::default();
    for (id, others) in OTHERS {
        let server = settings.servers.iter_mut().find(|server| server.id == id);
        let attachment = &mut server.expect("the server is there").private[0];
        attachment.aliases.extend(others);
        // So that the address is neither the first nor the last of its list.
        attachment.aliases.sort_by_key(|ip| ip.octets()[3] == 9);
    }
    adapt(&mut settings);
    Cloud::start(settings).expect("the Cloud starts")
}

/// Gives the alias IP to a server, by hand.
pub fn move_alias(cloud: &Cloud, to: u64) {
    let address = Ipv4Addr::new(10, 0, 0, 100);
    for (server, others) in OTHERS {
        let mut aliases = others.to_vec();
        if server == to {
            aliases.push(address);
        }
        cloud.set_aliases(server, NETWORK, &aliases);
    }
}

/// The action for a mock Cloud. `keys` come last, so they can change others.
pub fn action(cloud: &Cloud, kind: Kind, keys: &str) -> String {
    action_of(cloud, kind.action(), &kind.ip().to_string(), keys)
}

pub fn action_of(cloud: &Cloud, action: &str, ips: &str, keys: &str) -> String {
    action_by(cloud, action, &format!("token={}", token()), ips, keys)
}

/// The same with the key of the token written out.
pub fn action_by(cloud: &Cloud, action: &str, token: &str, ips: &str, keys: &str) -> String {
    let mut line = format!(
        "{action}:{token},ip={ips},endpoint={},ca_file={}",
        cloud.endpoint(),
        cloud.ca_file().display()
    );
    let names_server = keys.split(',').any(|key| key.starts_with("server="));
    if !names_server {
        line += &format!(",server={HERE}");
    }
    if !keys.is_empty() {
        line += &format!(",{keys}");
    }
    line
}

/// The token of a mock Cloud.
pub fn token() -> String {
    Settings::default().token
}

/// The requests so far, for messages.
pub fn requests(cloud: &Cloud) -> String {
    let requests = cloud.requests();
    let requests = requests.iter().map(|request| {
        let body = String::from_utf8_lossy(&request.body);
        let (method, path, status) = (&request.method, &request.path, request.status);
        format!("{method} {path} {body} {status:?}\n")
    });
    requests.collect()
}

/// How often the address was requested for a server.
pub fn changes_to(cloud: &Cloud, kind: Kind, server: u64) -> usize {
    let requests = cloud.requests();
    let is_of_server = |request: &&Received| match kind {
        Kind::Floating => request.json()["server"] == server,
        Kind::Alias => {
            let path = format!("/v1/servers/{server}/actions/change_alias_ips");
            let ips = request.json()["alias_ips"].clone();
            let mut ips = ips.as_array().into_iter().flatten();
            request.path == path && ips.any(|ip| *ip == kind.ip().to_string())
        }
    };
    let posts = requests.iter().filter(|request| request.method == "POST");
    posts.filter(is_of_server).count()
}

/// A node that takes one address over, and its Cloud.
pub struct Run {
    pub kind: Kind,
    pub cloud: Cloud,
    pub node: Node,
    /// For messages.
    pub what: String,
}

impl Run {
    pub fn start(context: &Context, kind: Kind, cloud: Cloud, keys: &str) -> Run {
        let node = context.start(&lone_node(&action(&cloud, kind, keys)));
        Run {
            what: format!("{kind:?} {keys}"),
            kind,
            cloud,
            node,
        }
    }

    #[must_use]
    pub fn named(mut self, what: impl std::fmt::Debug) -> Run {
        self.what = format!("{:?} {what:?}", self.kind);
        self
    }

    pub fn changes(&self) -> usize {
        self.cloud.count(self.kind.changes())
    }

    pub fn explain(&self) -> String {
        let requests = requests(&self.cloud);
        format!("{}\n{}\n{requests}", self.what, self.node.log().text())
    }

    /// Waits until the hook has returned. Returns the last line about the takeover.
    #[track_caller]
    fn end(&self) -> (bool, String) {
        let end = wait_any(
            &self.node,
            &["] i am now the Lord", "] ERROR, lord hook returned: -1"],
        );
        let prefix = format!("[{}] ", self.kind.action());
        let lines = self.node.log().lines();
        let mut ours = lines.iter().rev().filter(|line| line.starts_with(&prefix));
        let last = ours.next().unwrap_or_else(|| panic!("{}", self.explain()));
        keeps_its_promises(&self.cloud, &self.node, &self.explain());
        (end.contains("i am now the Lord"), last.clone())
    }

    /// It succeeds, and the address is here.
    #[track_caller]
    pub fn succeeds(&self) -> String {
        let (succeeded, line) = self.end();
        let start = format!(
            "[{}] {} is routed to server ",
            self.kind.action(),
            self.kind.ip()
        );
        assert!(
            succeeded && line.starts_with(&start) && line.contains(" (after "),
            "{}",
            self.explain()
        );
        let holder = self.cloud.holder(self.kind.ip());
        assert_eq!(holder, Some(HERE), "{}", self.explain());
        line
    }

    /// It succeeds, with so many changes.
    #[track_caller]
    pub fn succeeds_with(&self, changes: usize) -> String {
        let line = self.succeeds();
        assert_eq!(self.changes(), changes, "{}", self.explain());
        line
    }

    /// It fails, the hook returns -1, and the node steps back.
    #[track_caller]
    pub fn fails(&self, part: &str) -> String {
        let (succeeded, line) = self.end();
        let (name, ip) = (self.kind.action(), self.kind.ip());
        let start = format!("[{name}] ERROR {ip} is not routed to ");
        assert!(
            !succeeded && line.starts_with(&start) && line.contains(part),
            "`{part}`\n{}",
            self.explain()
        );
        wait(&self.node, "stepping back for ", PATIENCE);
        line
    }

    /// It fails for good, without a second try, and the address stays where it is.
    #[track_caller]
    pub fn fails_at_once(&self, changes: usize, part: &str) -> String {
        let line = self.fails(part);
        let stands = "this node votes, but does not stand for election";
        wait(&self.node, stands, PATIENCE);
        assert_eq!(self.changes(), changes, "{}", self.explain());
        let holder = self.cloud.holder(self.kind.ip());
        assert_eq!(holder, Some(THERE), "{}", self.explain());
        line
    }
}

/// What is true of every takeover, whatever happens to it: the token is in no line of the log, nothing
/// is polled more often than every 0.5 s, and no alias IP is lost that nobody moves.
#[track_caller]
pub fn keeps_its_promises(cloud: &Cloud, node: &Node, explained: &str) {
    for line in node.log().lines() {
        assert!(!line.contains(&token()), "the token is in the log: {line}");
    }
    is_polled_slowly(cloud, explained);
    for (server, others) in OTHERS {
        let aliases = cloud.aliases(server, NETWORK);
        let lost = others.iter().find(|ip| !aliases.contains(ip));
        assert_eq!(lost, None, "server {server}: {aliases:?}\n{explained}");
    }
}

/// No action is polled more often than every 0.5 s, by the mock's own record.
#[track_caller]
fn is_polled_slowly(cloud: &Cloud, explained: &str) {
    let least = Duration::from_millis(500).mul_f64(0.9);
    let requests = cloud.requests();
    for (number, request) in requests.iter().enumerate() {
        let mut later = requests[number + 1..].iter();
        let is_poll = request.path.contains("/actions/") && request.method == "GET";
        if let (true, Some(next)) = (is_poll, later.find(|next| next.path == request.path)) {
            let gap = next.at - request.at;
            assert!(gap >= least, "{} after {gap:?}\n{explained}", request.path);
        }
    }
}
