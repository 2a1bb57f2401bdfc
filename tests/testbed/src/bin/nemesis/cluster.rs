//! A legion on loopback: its nodes, the mock service, their applications, and the ways between them.

use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use testbed::health::{Application, Behaviour};
use testbed::tcp_relay::{State, TcpRelay};
use testbed::uwsgi::{Launch, Legion, Log, Node, NodeConfig, Relay};

use crate::clock::Clocks;
use crate::fault::{Fault, Step};
use crate::member::Member;
use crate::service::{self, Service, wrong_secret};
use crate::setup::Setup;
use crate::timeline::Timeline;
use crate::view::View;
use crate::world::World;

const SECRET: &str = "n3m-Legion-Secret";

pub struct Cluster {
    pub service: Box<dyn Service>,
    pub timeline: Timeline,
    pub nodes: Vec<Member>,
    pub setup: Setup,
    /// Somebody moves the address to this server, and is not done yet.
    moving_to: Option<usize>,
    /// Somebody has moved the address, or has begun to, since the last call.
    pub was_moved: bool,
    launch: Launch,
    legion: Legion,
    /// By sender and receiver.
    links: Vec<Vec<Option<Relay>>>,
    ways: Vec<TcpRelay>,
    applications: Vec<Application>,
    clocks: Clocks,
    /// With the nodes' passwords or tokens.
    directory: tempfile::TempDir,
    world: World,
}

impl Cluster {
    /// Starts everything but the nodes.
    ///
    /// # Errors
    /// Loopback has no free port, or a file cannot be written.
    pub fn build(launch: &Launch, setup: &Setup, seed: u64) -> io::Result<Cluster> {
        let service = service::start(setup)?;
        let timeline = service.timeline();
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
            .map(|_| TcpRelay::to(service.port()))
            .collect::<io::Result<_>>()?;
        let applications = all()
            .map(|_| Application::start())
            .collect::<io::Result<_>>()?;
        let directory = tempfile::Builder::new().prefix("nemesis-").tempdir()?;
        let cluster = Cluster {
            service,
            timeline,
            nodes: all().map(|_| Member::new()).collect(),
            setup: setup.clone(),
            moving_to: None,
            was_moved: false,
            launch: launch.clone(),
            legion,
            links,
            ways,
            applications,
            clocks: Clocks::build(directory.path(), setup.nodes)?,
            directory,
            world: World::sound(setup.nodes),
        };
        for node in all() {
            cluster.write_secret(node, true)?;
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
        let mut config = NodeConfig::new()
            .line(self.legion.member_via(node, port_to))
            .line(self.hooks(node).join("\n"))
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

    /// The lines that order takeovers: one with all addresses, or one for each.
    fn hooks(&self, node: usize) -> Vec<String> {
        let addresses = self.addresses();
        let share = match self.setup.is_together {
            true => addresses.len(),
            false => 1,
        };
        let (port, secret_file) = (self.ways[node].port(), self.secret_file(node));
        let hook = |ips| {
            let action = self.service.action(node, port, ips, &secret_file);
            format!("legion-lord = failover {action}")
        };
        addresses.chunks(share).map(hook).collect()
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.setup.addresses
    }

    /// What no log may contain.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.service.secrets();
        secrets.push(SECRET.into());
        secrets
    }

    fn secret_file(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("secret-{node}"))
    }

    fn write_secret(&self, node: usize, is_right: bool) -> io::Result<()> {
        let secret = match is_right {
            true => self.service.secret(node),
            false => wrong_secret(node),
        };
        let new = self.directory.path().join(format!("new-{node}"));
        fs::write(&new, secret)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(new, self.secret_file(node))
    }

    /// Makes the world so. `begun` are the steps that have begun since the last call.
    pub fn apply(&mut self, world: &World, begun: &[Step]) -> io::Result<()> {
        for node in 0..self.nodes.len() {
            self.apply_process(node, world)?;
            self.apply_ways(node, world)?;
        }
        if world.service != self.world.service {
            self.service.set_trouble(world.service);
        }
        if world.edited {
            self.service.edit();
        }
        for step in begun {
            match step.fault {
                Fault::Moved { to } => self.moving_to = Some(to),
                Fault::Reset { node } => self.ways[node].cut(),
                _ => {}
            }
        }
        self.apply_move();
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
        if now.reloads && !before.reloads && now.down.is_none() {
            member.reload();
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
            self.write_secret(node, !now.wrong_password)?;
        }
        if now.sick != before.sick {
            self.applications[node].set(match now.sick {
                true => Behaviour::Status(503),
                false => Behaviour::Status(200),
            })?;
        }
        Ok(())
    }

    /// Somebody moves the first address, as soon as the service allows it.
    fn apply_move(&mut self) {
        self.was_moved = self.moving_to.is_some();
        let ip = self.addresses()[0];
        let is_done = |to| self.service.move_by_hand(ip, to);
        if self.moving_to.is_some_and(is_done) {
            self.moving_to = None;
        }
    }

    /// Nobody moves the address any more.
    pub fn leave_alone(&mut self) {
        self.moving_to = None;
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

    /// The server that all addresses are at.
    pub fn holder(&self) -> Option<usize> {
        let holders = self.holders();
        let first = *holders.first()?;
        first.filter(|_| holders.iter().all(|holder| *holder == first))
    }

    /// The server of each address.
    pub fn holders(&self) -> Vec<Option<usize>> {
        let addresses = self.addresses().iter();
        addresses.map(|ip| self.service.holder(*ip)).collect()
    }

    /// The logs of a node's processes, the last one included.
    pub fn logs(&self, node: usize) -> Vec<Log> {
        let member = &self.nodes[node];
        let last = member.view.as_ref().map(|view| view.log().clone());
        member.past.iter().cloned().chain(last).collect()
    }
}
