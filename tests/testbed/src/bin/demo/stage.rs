//! The webservice and the three servers of the demo.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use testbed::uwsgi::{Launch, Log, Node, NodeConfig, PATIENCE};

use crate::place::Place;
use crate::service::{Service, Words};
use crate::{interrupt, orphans};

pub use testbed::network::FAILOVER_IP;
/// How long a switch takes.
pub const SWITCH_TIME: Duration = Duration::from_secs(2);
/// The right password, or token.
pub const PASSWORD: &str = "BAR";
/// After how many seconds of silence the others consider a server dead.
pub const TOLERANCE: u32 = 5;
/// For how many seconds a server steps back after a failed takeover.
pub const STEP_BACK: u32 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    A,
    B,
    C,
}

impl Server {
    pub const ALL: [Server; 3] = [Server::A, Server::B, Server::C];

    pub fn name(self) -> &'static str {
        match self {
            Server::A => "A",
            Server::B => "B",
            Server::C => "C",
        }
    }

    /// Its main IP: 1.1.1.1, 2.2.2.2, 3.3.3.3.
    pub fn main_ip(self) -> IpAddr {
        let n = self as u8 + 1;
        IpAddr::from([n, n, n, n])
    }

    /// Its id in the Cloud.
    pub fn id(self) -> u64 {
        42 + self as u64
    }

    /// As `Legion` gives them out.
    pub fn valor(self) -> usize {
        9999 - self as usize
    }
}

/// `A (1.1.1.1)`
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.main_ip())
    }
}

/// The webservice and the servers.
pub struct Stage {
    pub service: Service,
    pub place: Place,
    launch: Launch,
    /// Everything that must not outlive the demo.
    props: Mutex<Props>,
}

#[derive(Default)]
pub struct Props {
    nodes: [Option<Node>; 3],
    /// Kept when a server is killed.
    logs: [Option<Log>; 3],
    /// Contains the certificate.
    _directory: Option<tempfile::TempDir>,
}

impl Stage {
    /// Starts the webservice; the address is routed to no server yet.
    pub fn build(mut launch: Launch, is_network: bool, is_cloud: bool) -> io::Result<Stage> {
        let mut place = match is_network {
            true => Place::network(&mut launch)?,
            false => Place::loopback(),
        };
        let directory = tempfile::Builder::new().prefix("demo-").tempdir()?;
        let ca_file = directory.path().join("ca.pem");
        let service = Service::start(is_cloud, place.webservice(), ca_file)?;
        place.follow(&service);
        Ok(Stage {
            service,
            place,
            launch,
            props: Mutex::new(Props {
                _directory: Some(directory),
                ..Props::default()
            }),
        })
    }

    /// Starts a server, with this password or token in its configuration. Call it on a thread that lives
    /// as long as the process: the kernel ends the server with its parent, which is the thread.
    pub fn start(&self, server: Server, password: &str) -> io::Result<()> {
        let ini = self.ini(server, password);
        self.place.connect(server)?;
        let mut props = self.props();
        let node = Node::start_with(&self.launch, &ini, |command| {
            interrupt::unblock_in(command);
            self.place.adapt(server, command);
        })?;
        props.logs[server as usize] = Some(node.log().clone());
        props.nodes[server as usize] = Some(node);
        Ok(())
    }

    /// As in `packaging/uwsgi.ini`, with the addresses of the place.
    fn ini(&self, server: Server, password: &str) -> String {
        let Words { action, .. } = self.service.words();
        let action = format!(
            "{action}:{},ip={FAILOVER_IP},{}ca_file={}",
            self.service.keys(server, password),
            self.place.url(&self.service),
            self.service.ca_file().display()
        );
        NodeConfig::new()
            .line(self.place.lines(server))
            .line(format!("legion-lord = failover {action}"))
            .line(format!("legion-death-on-lord-error = {STEP_BACK}"))
            .line(format!("legion-tolerance = {TOLERANCE}"))
            .line("legion-freq = 1")
            .ini()
    }

    /// Kills a server as a power cut would: it cannot announce its death.
    pub fn kill(&self, server: Server) -> io::Result<()> {
        self.place.cut(server)?;
        self.props().nodes[server as usize] = None;
        Ok(())
    }

    /// Waits for the `nth` line, from 1, with one of these parts that a server logs since that
    /// moment; `None` if the log ends, or patience does.
    pub fn wait(
        &self,
        server: Server,
        since: Instant,
        parts: &[&str],
        nth: usize,
    ) -> Option<(Instant, String)> {
        self.log(server)?.wait_until(PATIENCE, |lines| {
            let new = lines.iter().filter(|(at, _)| *at >= since);
            new.filter(|(_, line)| parts.iter().any(|part| line.contains(part)))
                .nth(nth - 1)
                .cloned()
        })
    }

    /// Whether a server has logged a line with this part since that moment.
    pub fn has_logged(&self, server: Server, since: Instant, part: &str) -> bool {
        let lines = self.log(server).map_or(Vec::new(), |log| log.timed_lines());
        let mut new = lines.iter().filter(|(at, _)| *at >= since);
        new.any(|(_, line)| line.contains(part))
    }

    /// The votes of the last election that a server has logged.
    pub fn votes(&self, server: Server) -> Option<usize> {
        let lines = self.log_lines(server);
        let votes = lines.iter().rev().find_map(|l| l.split("votes: ").nth(1))?;
        votes.split(')').next()?.parse().ok()
    }

    /// The log of a server, also after its death.
    pub fn log_lines(&self, server: Server) -> Vec<String> {
        self.log(server).map_or(Vec::new(), |log| log.lines())
    }

    fn log(&self, server: Server) -> Option<Log> {
        self.props().logs[server as usize].clone()
    }

    /// Ends all servers and removes all files. Nothing can be started while the returned guard
    /// exists.
    pub fn clear(&self) -> MutexGuard<'_, Props> {
        let mut props = self.props();
        *props = Props::default();
        orphans::wait();
        props
    }

    fn props(&self) -> MutexGuard<'_, Props> {
        self.props.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
