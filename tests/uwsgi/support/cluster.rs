//! Real uWSGI nodes, a mock Robot or a mock Cloud, and an observer that listens.

use std::path::Path;
use std::time::{Duration, Instant};

use testbed::cloud::Cloud;
use testbed::robot::{Method, Robot, Settings};
use testbed::tcp_relay::{State, TcpRelay};
use testbed::uwsgi::{Legion, Node, NodeConfig, Observer, PATIENCE, Relay, plugins_dir};

use crate::cloud::{self, Kind};
use crate::context::{Context, action_to, ip};

/// The main IPs of the servers.
pub const SERVERS: [&str; 5] = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "5.5.5.5", "6.6.6.6"];

/// What a node logs when it has become Lord.
pub const LORD: &str = "i am now the Lord of the Legion failover";

/// A legion on loopback, usually of three: the first node has the highest valor.
pub struct Cluster<'a> {
    context: &'a Context,
    pub robot: Robot,
    /// What is moved instead of a failover IP, if that is a Cloud address.
    cloud: Option<(Kind, Cloud)>,
    pub legion: Legion,
    pub observer: Observer,
    nodes: Vec<Option<Node>>,
    logs_before: Vec<String>,
    more: String,
    action_more: String,
    /// Lines and keys of single nodes.
    lines_of: Vec<String>,
    keys_of: Vec<String>,
    /// The ways between the nodes, by sender and receiver, and to the webservice; none unless asked
    /// for.
    ways: Vec<Vec<Option<Relay>>>,
    ways_to_robot: Vec<TcpRelay>,
    /// A node without the plugin.
    plain: Option<usize>,
    /// Nodes with another plugin, and the directory that it is in.
    older: Option<(Vec<usize>, tempfile::TempDir)>,
}

impl<'a> Cluster<'a> {
    /// A legion that is not started yet, with a quorum of 2.
    pub fn new(context: &'a Context, adapt: impl FnOnce(&mut Settings)) -> Cluster<'a> {
        Cluster::of(context, 3, adapt)
    }

    /// A legion of so many nodes that is not started yet, with a quorum of more than half of them.
    pub fn of(
        context: &'a Context,
        nodes: usize,
        adapt: impl FnOnce(&mut Settings),
    ) -> Cluster<'a> {
        let mut settings = Settings {
            failovers: vec![(ip("4.4.4.4"), None)],
            servers: SERVERS.map(ip).to_vec(),
            posts_per_hour: None,
            gets_per_hour: None,
            ..Settings::default()
        };
        adapt(&mut settings);
        Cluster {
            context,
            robot: Robot::start(settings).expect("the Robot starts"),
            cloud: None,
            legion: Legion::of(nodes),
            observer: Observer::start(),
            nodes: (0..nodes).map(|_| None).collect(),
            logs_before: Vec::new(),
            more: "legion-death-on-lord-error = 5".into(),
            action_more: String::new(),
            lines_of: vec![String::new(); nodes],
            keys_of: vec![String::new(); nodes],
            ways: Vec::new(),
            ways_to_robot: Vec::new(),
            plain: None,
            older: None,
        }
    }

    /// Has the nodes move a Cloud address instead of the failover IP. They are the servers 42, 43, 44.
    pub fn with_cloud(mut self, kind: Kind, cloud: Cloud) -> Cluster<'a> {
        assert!(self.ways_to_robot.is_empty(), "relays come later");
        self.cloud = Some((kind, cloud));
        self
    }

    pub fn cloud(&self) -> &Cloud {
        let (_, cloud) = self.cloud.as_ref().expect("it moves a Cloud address");
        cloud
    }

    /// Puts a relay on each way between two nodes, and between a node and the webservice.
    pub fn with_relays(mut self) -> Cluster<'a> {
        let ports = &self.legion.ports;
        let way = |from: usize, to: usize| (from != to).then(|| Relay::to(ports[to]));
        let nodes = 0..ports.len();
        self.ways = nodes
            .clone()
            .map(|from| nodes.clone().map(|to| way(from, to)).collect())
            .collect();
        let port = match &self.cloud {
            Some((_, cloud)) => cloud.port(),
            None => self.robot.port(),
        };
        let to_robot = nodes.map(|_| TcpRelay::to(port).expect("a relay"));
        self.ways_to_robot = to_robot.collect();
        self
    }

    /// Has a node run without the plugin. It only votes and stands.
    pub fn without_plugin(mut self, node: usize) -> Cluster<'a> {
        self.plain = Some(node);
        self
    }

    /// Has nodes run with another plugin.
    pub fn with_older_plugin(mut self, nodes: &[usize], plugin: &Path) -> Cluster<'a> {
        let directory = plugins_dir(plugin).expect("the older plugin can be copied");
        self.older = Some((nodes.to_vec(), directory));
        self
    }

    /// Adds lines to one node's configuration.
    pub fn with_lines_of(mut self, node: usize, lines: &str) -> Cluster<'a> {
        self.lines_of[node] = lines.into();
        self
    }

    /// Adds keys to one node's action.
    pub fn with_keys_of(mut self, node: usize, keys: &str) -> Cluster<'a> {
        self.keys_of[node] = keys.into();
        self
    }

    /// Lets packets between a node and its peers pass, or not.
    pub fn set_peers_open(&self, node: usize, open: bool) {
        for (from, ways) in self.ways.iter().enumerate() {
            for (to, way) in ways.iter().enumerate() {
                if let (Some(way), true) = (way, from == node || to == node) {
                    way.set_open(open);
                }
            }
        }
    }

    /// Lets a node reach the webservice, or refuses its connections.
    pub fn set_robot_open(&self, node: usize, open: bool) {
        let way = &self.ways_to_robot[node];
        match open {
            true => way.set(State::Open),
            false => {
                way.set(State::Refuse);
                way.cut();
            }
        }
    }

    /// Sets the lines that come last in every node's configuration.
    pub fn with(mut self, lines: &str) -> Cluster<'a> {
        self.more = lines.into();
        self
    }

    /// Adds keys to every node's action.
    pub fn with_keys(mut self, keys: &str) -> Cluster<'a> {
        self.action_more = keys.into();
        self
    }

    pub fn with_quorum(mut self, quorum: usize) -> Cluster<'a> {
        self.legion.quorum = quorum;
        self
    }

    pub fn started(mut self) -> Cluster<'a> {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        self
    }

    pub fn config(&self, node: usize) -> NodeConfig {
        let port_to = |to: usize| match self.ways.get(node).and_then(|ways| ways[to].as_ref()) {
            Some(way) => way.port(),
            None => self.legion.ports[to],
        };
        let mut keys: Vec<String> = [&self.action_more, &self.keys_of[node]]
            .into_iter()
            .filter(|keys| !keys.is_empty())
            .cloned()
            .collect();
        if let Some(way) = self.ways_to_robot.get(node) {
            keys.push(match &self.cloud {
                Some((_, cloud)) => format!("endpoint={}", cloud.endpoint_at(way.port())),
                None => format!("url={}", self.robot.url_at(way.port(), ip("4.4.4.4"))),
            });
        }
        let action = match &self.cloud {
            Some((kind, cloud)) => {
                keys.push(format!("server={}", server_id(node)));
                cloud::action(cloud, *kind, &keys.join(","))
            }
            None => action_to(&self.robot, SERVERS[node], &keys.join(",")),
        };
        let (config, is_plain) = match self.plain == Some(node) {
            true => (NodeConfig::without_plugin(), true),
            false => (NodeConfig::new(), false),
        };
        let config = config
            .line(self.legion.member_via(node, port_to))
            .line(format!(
                "legion-node = {} 127.0.0.1:{}",
                self.legion.name,
                self.observer.port()
            ));
        if is_plain {
            return config.line("legion-freq = 1\nlegion-tolerance = 5");
        }
        config
            .line(format!("legion-lord = failover {action}"))
            .line("legion-freq = 1\nlegion-tolerance = 5")
            .line(&self.more)
            .line(&self.lines_of[node])
    }

    /// Starts a node whose announcements to its peers go through these.
    pub fn start_behind(&mut self, node: usize, relays: &[Relay]) {
        let mut ini = self.config(node).ini();
        let peers = (0..self.legion.ports.len()).filter(|&peer| peer != node);
        for (peer, relay) in peers.zip(relays) {
            let port = self.legion.ports[peer];
            ini = ini.replace(
                &format!("legion-node = failover 127.0.0.1:{port}\n"),
                &format!("legion-node = failover 127.0.0.1:{}\n", relay.port()),
            );
        }
        self.nodes[node] = Some(Node::start(&self.context.launch(), &ini).expect("uWSGI starts"));
    }

    pub fn start(&mut self, node: usize) {
        if let Some(before) = self.nodes[node].take() {
            self.logs_before.push(before.log().text());
        }
        let mut launch = self.context.launch();
        if let Some((_, directory)) = self
            .older
            .as_ref()
            .filter(|(nodes, _)| nodes.contains(&node))
        {
            launch.plugins_dir = Some(directory.path().to_path_buf());
        }
        let started = Node::start(&launch, &self.config(node).ini());
        self.nodes[node] = Some(started.expect("uWSGI starts"));
    }

    pub fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("the node was started")
    }

    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        self.nodes[node].as_mut().expect("the node was started")
    }

    /// Kills a node for good.
    pub fn kill(&mut self, node: usize) {
        self.node_mut(node).kill();
    }

    /// Waits for a line in a node's log.
    #[track_caller]
    pub fn wait(&self, node: usize, part: &str) -> String {
        self.wait_nth(node, part, 1)
    }

    #[track_caller]
    pub fn wait_nth(&self, node: usize, part: &str, nth: usize) -> String {
        let found = self.node(node).log().wait_for_nth(part, nth, PATIENCE);
        found.unwrap_or_else(|| panic!("node {node}: no {nth}. `{part}` in:\n{}", self.logs()))
    }

    /// How many times a node asked for the address.
    pub fn posts_of(&self, node: usize) -> usize {
        if let Some((kind, cloud)) = &self.cloud {
            return cloud::changes_to(cloud, *kind, server_id(node));
        }
        let body = format!("active_server_ip={}", SERVERS[node]);
        let requests = self.robot.requests();
        let is_of_node = |body_of: &[u8]| body_of == body.as_bytes();
        requests
            .iter()
            .filter(|request| request.method == "POST" && is_of_node(&request.body))
            .count()
    }

    /// How many requests of a kind have been received.
    pub fn count(&self, method: Method) -> usize {
        self.robot.count(method)
    }

    /// Waits until the failover IP is this node's.
    #[track_caller]
    pub fn wait_for_route(&self, node: usize) {
        self.wait_for_route_within(node, PATIENCE);
    }

    #[track_caller]
    pub fn wait_for_route_within(&self, node: usize, patience: Duration) {
        let came = match &self.cloud {
            Some((kind, cloud)) => {
                cloud.wait_for_holder(kind.ip(), Some(server_id(node)), patience)
            }
            None => {
                let server = Some(ip(SERVERS[node]));
                self.robot.wait_for_route(ip("4.4.4.4"), server, patience)
            }
        };
        assert!(
            came,
            "the route is not that of node {node}:\n{}",
            self.logs()
        );
    }

    /// Waits for so many announcements of a node: the legion had as many seconds to change
    /// its mind.
    #[track_caller]
    pub fn wait_for_rounds(&self, node: usize, rounds: usize) {
        let port = self.legion.ports[node];
        let came = self.observer.wait_for_more(port, rounds, PATIENCE);
        assert!(came, "node {node} is silent:\n{}", self.logs());
    }

    /// The route is this node's, and it alone is Lord, after the legion had time to differ.
    #[track_caller]
    pub fn is_settled_on(&self, node: usize) {
        self.wait_for_route(node);
        let give_up = Instant::now() + PATIENCE;
        while self.lords() != [node] {
            assert!(
                Instant::now() < give_up,
                "Lords: {:?}\n{}",
                self.lords(),
                self.logs()
            );
            self.wait_for_rounds(node, 1);
        }
        self.wait_for_rounds(node, 8);
        assert_eq!(self.lords(), [node], "{}", self.logs());
        self.wait_for_route_within(node, Duration::ZERO);
        if let Some((_, cloud)) = &self.cloud {
            for node in self.nodes.iter().flatten() {
                cloud::keeps_its_promises(cloud, node, &self.logs());
            }
        }
        assert!(
            !self
                .nodes
                .iter()
                .flatten()
                .any(|node| node.log().contains("panic"))
        );
    }

    /// The living nodes that are Lord, as their logs have it.
    pub fn lords(&self) -> Vec<usize> {
        let living = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let node = node.as_ref()?;
            node.is_running().then_some((index, node))
        });
        living
            .filter(|(_, node)| is_lord(&node.log().lines()))
            .map(|(index, _)| index)
            .collect()
    }

    #[track_caller]
    pub fn nobody_left(&self) {
        for node in self.nodes.iter().flatten() {
            for sign in ["left Legion", "announced its death"] {
                assert!(!node.log().contains(sign), "{sign}:\n{}", self.logs());
            }
        }
    }

    pub fn logs(&self) -> String {
        let mut text = self.logs_before.join("\n=== earlier ===\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let log = node
                .as_ref()
                .map_or("not started".into(), |node| node.log().text());
            text += &format!("\n=== node {index} ===\n{log}");
        }
        let requests = match &self.cloud {
            Some((_, cloud)) => cloud::requests(cloud),
            None => format!("{:#?}", self.robot.requests()),
        };
        text + &format!("\n=== webservice ===\n{requests}")
    }
}

/// The id of a node's Cloud server.
pub fn server_id(node: usize) -> u64 {
    42 + node as u64
}

/// Whether the last that was said is that the node is Lord.
fn is_lord(lines: &[String]) -> bool {
    let signs = [
        (LORD, true),
        ("a new Lord (valor", false),
        ("i cannot be The Lord", false),
        ("it has to become Lord again", false),
        ("spawned uWSGI master process", false),
    ];
    let last = lines.iter().rev().find_map(|line| {
        let sign = signs.iter().find(|(sign, _)| line.contains(sign));
        sign.map(|(_, is_lord)| *is_lord)
    });
    last.unwrap_or(false)
}
