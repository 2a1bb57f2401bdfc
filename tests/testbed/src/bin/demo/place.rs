//! Where the servers are: on loopback, or in a network of their own, with a user who asks them.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use testbed::network::{Answer, Client, Moves, Network, WEBSERVICE, web};
use testbed::robot::Settings;
use testbed::uwsgi::{Launch, Legion, PATIENCE};

use crate::service::{Events, Service};
use crate::stage::{FAILOVER_IP, Server};

pub enum Place {
    Loopback {
        legion: Legion,
        events: Option<Mutex<Events>>,
    },
    Network {
        network: Network,
        user: Client,
        moves: Moves,
        /// How many of the moves have been reported.
        reported: Mutex<usize>,
        _plugins: tempfile::TempDir,
    },
}

impl Place {
    pub fn loopback() -> Place {
        Place::Loopback {
            legion: Legion::of(Server::ALL.len()),
            events: None,
        }
    }

    /// The servers there also need the web application. This thread's namespace becomes the router.
    pub fn network(launch: &mut Launch) -> io::Result<Place> {
        let plugins = web::plugins(launch.plugins_dir.as_deref().unwrap_or(".".as_ref()))?;
        launch.plugins_dir = Some(plugins.path().into());
        let network = Network::build()?;
        Ok(Place::Network {
            user: Client::start(&network.client)?,
            network,
            moves: Moves::default(),
            reported: Mutex::new(0),
            _plugins: plugins,
        })
    }

    /// Where the webservice listens.
    pub fn webservice(&self) -> SocketAddr {
        match self {
            Place::Loopback { .. } => Settings::default().address,
            Place::Network { .. } => (WEBSERVICE, 443).into(),
        }
    }

    /// Follows what the webservice does.
    pub fn follow(&mut self, service: &Service) {
        match self {
            Place::Loopback { events, .. } => *events = Some(Mutex::new(service.events())),
            Place::Network { moves, .. } => *moves = service.follow(),
        }
    }

    /// The servers that the failover IP was moved to since the last call.
    pub fn moves(&self) -> Vec<Option<Server>> {
        match self {
            Place::Loopback { events, .. } => {
                let Some(events) = events else {
                    return Vec::new();
                };
                let events = events.lock().unwrap_or_else(PoisonError::into_inner);
                events.moves()
            }
            Place::Network {
                moves, reported, ..
            } => {
                let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
                let all = moves.all();
                let new = all[*reported..]
                    .iter()
                    .map(|(_, to)| to.map(|server| Server::ALL[server]));
                *reported = all.len();
                new.collect()
            }
        }
    }

    /// The lines that make a server a member of the legion.
    pub fn lines(&self, server: Server) -> String {
        match self {
            Place::Loopback { legion, .. } => legion.member(server as usize),
            Place::Network { .. } => {
                let (ip, valor) = (server.main_ip(), server.valor());
                let others = Server::ALL.into_iter().filter(|other| *other != server);
                let others = others
                    .map(|other| format!("legion-node = failover {}:2000\n", other.main_ip()));
                format!(
                    "legion = failover {ip}:2000 {valor} aes-256-cbc:secret1\n{}\
                     legion-quorum = failover 2\n{}",
                    others.collect::<String>(),
                    web::LINES
                )
            }
        }
    }

    /// The key with the URL of the webservice, where its own name does not lead to the mock.
    pub fn url(&self, service: &Service) -> String {
        match (self, service) {
            (Place::Loopback { .. }, Service::Robot(robot)) => {
                format!("url={},", robot.url(FAILOVER_IP))
            }
            (Place::Loopback { .. }, Service::Cloud(cloud)) => {
                format!("endpoint={},", cloud.endpoint())
            }
            (Place::Network { .. }, Service::Robot(_)) => String::new(),
            (Place::Network { .. }, Service::Cloud(_)) => {
                format!("endpoint=https://{WEBSERVICE}/v1,")
            }
        }
    }

    /// Makes a command run on a server.
    pub fn adapt(&self, server: Server, command: &mut Command) {
        if let Place::Network { network, .. } = self {
            network.servers[server as usize].adapt(command);
        }
    }

    /// Connects a server with the others.
    pub fn connect(&self, server: Server) -> io::Result<()> {
        match self {
            Place::Loopback { .. } => Ok(()),
            Place::Network { network, .. } => network.connect(server as usize),
        }
    }

    /// Cuts a server off.
    pub fn cut(&self, server: Server) -> io::Result<()> {
        match self {
            Place::Loopback { .. } => Ok(()),
            Place::Network { network, .. } => network.cut(server as usize),
        }
    }

    /// The user's answers since then, if there is a user. Waits until there is one from this server.
    pub fn answers(&self, since: Instant, server: Server) -> Option<Vec<Answer>> {
        let Place::Network { user, .. } = self else {
            return None;
        };
        user.wait_for(since, |answering| answering == server as usize, PATIENCE);
        let mut answers = user.answers();
        answers.retain(|answer| answer.at >= since);
        Some(answers)
    }
}
