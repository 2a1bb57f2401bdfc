//! A legion on loopback: its nodes, the mock Robot, their applications, and the ways between them.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use testbed::health::{Application, Behaviour};
use testbed::robot::{Fault as Answer, Method, Robot, Settings, When};
use testbed::tcp_relay::{State, TcpRelay};
use testbed::uwsgi::{Launch, Legion, Log, Node, NodeConfig, Relay};

use crate::clock::Clocks;
use crate::fault::{Fault, Service, Step, World};
use crate::member::Member;
use crate::plan::Setup;
use crate::timeline::Timeline;
use crate::view::View;

/// Of which a round uses one or both.
pub const FAILOVER_IPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(4, 4, 4, 4)),
    IpAddr::V4(Ipv4Addr::new(4, 4, 4, 5)),
];
/// The main IPs of the servers.
const SERVERS: [[u8; 4]; 5] = [[1; 4], [2; 4], [3; 4], [5; 4], [6; 4]];

pub const PASSWORD: &str = "n3m-Robot-Password";
const SECRET: &str = "n3m-Legion-Secret";
/// What no log may contain: the secrets, and the login as it is sent.
pub const SECRETS: [&str; 3] = [PASSWORD, SECRET, "Rk9POm4zbS1Sb2JvdC1QYXNzd29yZA"];

/// How long somebody else's switch is at most.
const LONGEST_LOCK: Duration = Duration::from_secs(60);

pub fn server(node: usize) -> IpAddr {
    SERVERS[node].into()
}

pub struct Cluster {
    pub robot: Robot,
    pub timeline: Timeline,
    pub nodes: Vec<Member>,
    launch: Launch,
    setup: Setup,
    legion: Legion,
    /// By sender and receiver.
    links: Vec<Vec<Option<Relay>>>,
    ways: Vec<TcpRelay>,
    applications: Vec<Application>,
    clocks: Clocks,
    /// With the nodes' password files.
    directory: tempfile::TempDir,
    world: World,
}

impl Cluster {
    /// Starts everything but the nodes.
    ///
    /// # Errors
    /// Loopback has no free port, or a file cannot be written.
    pub fn build(launch: &Launch, setup: &Setup, seed: u64) -> io::Result<Cluster> {
        let robot = Robot::start(Settings {
            password: PASSWORD.into(),
            failovers: FAILOVER_IPS.map(|ip| (ip, None)).to_vec(),
            servers: SERVERS.map(IpAddr::from).to_vec(),
            switch_time: setup.switch_time,
            // The rules count the requests, and all nodes have one address here.
            posts_per_hour: None,
            gets_per_hour: None,
            lockout: Duration::ZERO,
            ..Settings::default()
        })?;
        let timeline = Timeline::follow(robot.events());
        let mut legion = Legion::of(setup.nodes);
        legion.cipher = format!("aes-256-cbc:{SECRET}");
        let link = |from: usize, to: usize| {
            let seed = seed.wrapping_mul(100).wrapping_add((from * 10 + to) as u64);
            (from != to).then(|| Relay::seeded(legion.ports[to], seed))
        };
        let all = || 0..setup.nodes;
        let links = all()
            .map(|from| all().map(|to| link(from, to)).collect())
            .collect();
        let ways = all()
            .map(|_| TcpRelay::to(robot.port()))
            .collect::<io::Result<_>>()?;
        let applications = all()
            .map(|_| Application::start())
            .collect::<io::Result<_>>()?;
        let directory = tempfile::Builder::new().prefix("nemesis-").tempdir()?;
        let cluster = Cluster {
            robot,
            timeline,
            nodes: all().map(|_| Member::new()).collect(),
            launch: launch.clone(),
            setup: setup.clone(),
            legion,
            links,
            ways,
            applications,
            clocks: Clocks::build(directory.path(), setup.nodes)?,
            directory,
            world: World::sound(setup.nodes),
        };
        for node in all() {
            cluster.write_password(node, true)?;
        }
        Ok(cluster)
    }

    pub fn start_all(&mut self) -> io::Result<()> {
        (0..self.nodes.len()).try_for_each(|node| self.start(node))
    }

    fn start(&mut self, node: usize) -> io::Result<()> {
        let preload = |command: &mut Command| self.clocks.preload(node, command);
        let process = Node::start_with(&self.launch, &self.ini(node), preload)?;
        let member = &mut self.nodes[node];
        member.retire();
        member.view = Some(View::of(process.log().clone()));
        member.process = Some(process);
        member.is_leaving = false;
        member.starts += 1;
        Ok(())
    }

    fn ini(&self, node: usize) -> String {
        let port_to = |to: usize| match &self.links[node][to] {
            Some(link) => link.port(),
            None => self.legion.ports[to],
        };
        let setup = &self.setup;
        let hook = |ip: &IpAddr| {
            format!(
                "legion-lord = failover hetzner-failoverip:username=FOO,password_file={},\
                 ip={ip},active_ip={},url={},ca_file={},timeout={},deadline={},\
                 watch=60,watch_action=retake",
                self.password_file(node).display(),
                server(node),
                self.robot.url_at(self.ways[node].port(), *ip),
                self.robot.ca_file().display(),
                setup.timeout,
                setup.deadline,
            )
        };
        let hooks: Vec<String> = self.addresses().iter().map(hook).collect();
        let mut config = NodeConfig::new()
            .line(self.legion.member_via(node, port_to))
            .line(hooks.join("\n"))
            .line("legion-freq = 1\nlegion-tolerance = 5")
            .line(format!("legion-death-on-lord-error = {}", setup.suspension));
        if setup.nopreempt {
            config = config.line("hetzner-nopreempt = failover");
        }
        if setup.health {
            let url = self.applications[node].url("/healthz");
            config = config.line(format!(
                "hetzner-health = failover url={url},interval=1,timeout=1,fall=2,rise=2"
            ));
        }
        config.ini()
    }

    fn addresses(&self) -> &'static [IpAddr] {
        &FAILOVER_IPS[..self.setup.addresses]
    }

    fn password_file(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("password-{node}"))
    }

    /// A wrong password names its node.
    fn write_password(&self, node: usize, is_right: bool) -> io::Result<()> {
        let password = match is_right {
            true => PASSWORD.to_owned(),
            false => wrong_password(node),
        };
        let new = self.directory.path().join(format!("new-{node}"));
        fs::write(&new, password)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(new, self.password_file(node))
    }

    /// Makes the world so. `begun` are the steps that have begun since the last call.
    pub fn apply(&mut self, world: &World, begun: &[Step]) -> io::Result<()> {
        for node in 0..self.nodes.len() {
            self.apply_process(node, world)?;
            self.apply_ways(node, world)?;
        }
        if world.service != self.world.service {
            self.apply_service(world.service);
        }
        for step in begun {
            match step.fault {
                Fault::Moved { to } => self.robot.set_route(FAILOVER_IPS[0], Some(server(to))),
                Fault::Reset { node } => self.ways[node].cut(),
                _ => {}
            }
        }
        self.world = world.clone();
        Ok(())
    }

    fn apply_process(&mut self, node: usize, world: &World) -> io::Result<()> {
        let (before, now) = (self.world.nodes[node], world.nodes[node]);
        let member = &mut self.nodes[node];
        member.reap();
        if before.frozen && !now.frozen {
            member.signal(libc::SIGCONT);
        }
        match now.down {
            Some(how) if before.down.is_none() => member.end(how),
            Some(_) => {}
            // It is started as soon as the last one has ended.
            None if member.process.is_none() => self.start(node)?,
            None => {}
        }
        let member = &mut self.nodes[node];
        let is_frozen = now.frozen && now.down.is_none();
        if is_frozen && (!before.frozen || before.down.is_some()) {
            member.signal(libc::SIGSTOP);
        }
        if now.reloads && !before.reloads && now.down.is_none() && !member.is_leaving {
            member.signal(libc::SIGHUP);
        }
        member.absences.deaf.set(now.deaf);
        member.absences.stalled.set(now.way == State::Stall);
        Ok(())
    }

    fn apply_ways(&self, node: usize, world: &World) -> io::Result<()> {
        let (before, now) = (self.world.nodes[node], world.nodes[node]);
        for (to, link) in self.links[node].iter().enumerate() {
            if let Some(link) = link {
                link.set_open(world.is_open(node, to));
                link.set_quality(world.quality(node, to));
            }
        }
        if now.way != before.way {
            self.ways[node].set(now.way);
            if now.way == State::Refuse {
                self.ways[node].cut();
            }
        }
        if now.clock != before.clock {
            self.clocks.set(node, now.clock)?;
        }
        if now.wrong_password != before.wrong_password {
            self.write_password(node, !now.wrong_password)?;
        }
        if now.sick != before.sick {
            self.applications[node].set(match now.sick {
                true => Behaviour::Status(503),
                false => Behaviour::Status(200),
            })?;
        }
        Ok(())
    }

    fn apply_service(&self, service: Option<Service>) {
        self.robot.clear_orders();
        self.lock(Duration::ZERO, false);
        self.robot.set_switch_time(self.setup.switch_time);
        let order = |method, answer| self.robot.order(When::Always(method), answer);
        match service {
            None => {}
            Some(Service::Locked) => self.lock(LONGEST_LOCK, true),
            Some(Service::Slow(time)) => self.robot.set_switch_time(time),
            Some(Service::Unanswered) => order(Method::Post, Answer::lost()),
            Some(Service::Early) => order(Method::Post, Answer::early()),
            Some(Service::Unavailable) => order(
                Method::Any,
                Answer::error(503, "INTERNAL_ERROR", "maintenance"),
            ),
            Some(Service::RateLimited) => order(
                Method::Post,
                Answer::rate_limit_exceeded(50, Duration::from_secs(3600)),
            ),
        }
    }

    fn lock(&self, time: Duration, processing: bool) {
        for ip in self.addresses() {
            self.robot.lock(*ip, time, processing);
        }
    }

    /// The nodes that run and say that they are Lord.
    pub fn lords(&self) -> Vec<usize> {
        let is_lord = |node: &usize| {
            let member = &self.nodes[*node];
            let runs = member.process.is_some() && !self.world.nodes[*node].frozen;
            runs && member.view.as_ref().is_some_and(|view| view.is_lord)
        };
        (0..self.nodes.len()).filter(is_lord).collect()
    }

    /// The node that all addresses lead to.
    pub fn route(&self) -> Option<usize> {
        let leads_to = |node: &usize| {
            let is_routed = |ip: &IpAddr| self.robot.route(*ip) == Some(server(*node));
            self.addresses().iter().all(is_routed)
        };
        (0..self.nodes.len()).find(leads_to)
    }

    /// Where the addresses lead.
    pub fn routes(&self) -> Vec<Option<IpAddr>> {
        let addresses = self.addresses().iter();
        addresses.map(|ip| self.robot.route(*ip)).collect()
    }

    /// The logs of a node's processes, the last one included.
    pub fn logs(&self, node: usize) -> Vec<Log> {
        let member = &self.nodes[node];
        let last = member.view.as_ref().map(|view| view.log().clone());
        member.past.iter().cloned().chain(last).collect()
    }
}

pub fn wrong_password(node: usize) -> String {
    format!("wrong-{node}")
}
