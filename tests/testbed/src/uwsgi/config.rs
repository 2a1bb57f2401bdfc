//! Configurations of nodes, on loopback.

use std::net::UdpSocket;

/// A UDP port of 127.0.0.1 that nobody uses now.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    socket.local_addr().expect("it is bound").port()
}

/// A legion: who its nodes are, and what they do.
#[derive(Debug, Clone)]
pub struct Legion {
    pub name: String,
    /// Each node's legion port; the first node has the highest valor.
    pub ports: Vec<u16>,
    pub cipher: String,
    pub quorum: usize,
}

impl Legion {
    /// A legion of so many nodes, with a quorum of more than half of them.
    pub fn of(nodes: usize) -> Legion {
        Legion {
            name: "failover".into(),
            ports: (0..nodes).map(|_| free_udp_port()).collect(),
            cipher: "aes-256-cbc:secret1".into(),
            quorum: nodes / 2 + 1,
        }
    }

    /// The lines that make a node a member, without its hooks.
    pub fn member(&self, node: usize) -> String {
        let Legion {
            name,
            ports,
            cipher,
            ..
        } = self;
        let mut lines = format!(
            "legion = {name} 127.0.0.1:{} {} {cipher}\n",
            ports[node],
            9999 - node
        );
        for (other, port) in ports.iter().enumerate() {
            if other != node {
                lines += &format!("legion-node = {name} 127.0.0.1:{port}\n");
            }
        }
        lines + &format!("legion-quorum = {name} {}\n", self.quorum)
    }
}

/// The ini file of one node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    lines: Vec<String>,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig::new()
    }
}

impl NodeConfig {
    /// A master with one worker that has nothing to do, and the plugin.
    pub fn new() -> NodeConfig {
        NodeConfig::without_plugin().line("plugin = hetzner")
    }

    /// A master with one worker that has nothing to do.
    pub fn without_plugin() -> NodeConfig {
        let lines = [
            "[uwsgi]",
            "master = true",
            "processes = 1",
            "no-orphans = true",
            "socket = 127.0.0.1:0",
        ];
        NodeConfig {
            lines: lines.map(String::from).to_vec(),
        }
    }

    /// Adds one line, or several.
    pub fn line(mut self, line: impl Into<String>) -> NodeConfig {
        self.lines.push(line.into());
        self
    }

    pub fn ini(&self) -> String {
        self.lines.join("\n") + "\n"
    }
}
