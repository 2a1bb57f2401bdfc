//! Configurations of nodes on loopback.

use std::net::UdpSocket;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// The lowest port to choose.
const LEAST: u32 = 10_000;
/// By default the kernel gives out ports from here on for port 0.
const USUAL_EPHEMERAL: u32 = 32_768;

/// A free UDP port of 127.0.0.1. Until its node binds it, the kernel does not give it out for port 0,
/// and this process does not choose it again.
///
/// # Panics
/// No port is free.
pub fn free_udp_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let ports = ports_to_choose();
    let number = ports.end - ports.start;
    // Other processes start elsewhere.
    let begin = std::process::id().wrapping_mul(977) % number;
    for _ in 0..number {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = (ports.start + begin.wrapping_add(taken) % number) as u16;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("loopback has no free UDP port in {ports:?}");
}

/// The ports below those that the kernel gives out.
fn ports_to_choose() -> Range<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok());
    let end = first.unwrap_or(USUAL_EPHEMERAL).clamp(LEAST + 1000, 65_000);
    LEAST..end
}

/// A legion of nodes on this machine.
#[derive(Debug, Clone)]
pub struct Legion {
    pub name: String,
    /// Each node's legion port; the first node has the highest valor.
    pub ports: Vec<u16>,
    pub cipher: String,
    pub quorum: usize,
}

impl Legion {
    /// A legion of this many nodes, with a quorum of more than half of them.
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
        self.member_via(node, |peer| self.ports[peer])
    }

    /// The same, but with another port for each peer, such as that of a relay to it. Only what this
    /// node sends goes there, so that both directions between two nodes can have their own relay.
    pub fn member_via(&self, node: usize, port_to: impl Fn(usize) -> u16) -> String {
        let Legion { name, cipher, .. } = self;
        let port = self.ports[node];
        let valor = 9999 - node;
        let mut lines = format!("legion = {name} 127.0.0.1:{port} {valor} {cipher}\n");
        for peer in (0..self.ports.len()).filter(|&peer| peer != node) {
            let port = port_to(peer);
            lines += &format!("legion-node = {name} 127.0.0.1:{port}\n");
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
    /// A master with an idle worker, and the plugin.
    pub fn new() -> NodeConfig {
        NodeConfig::without_plugin().line("plugin = hetzner")
    }

    /// A master with an idle worker.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_five_nodes_reaches_its_peers_through_ports_of_its_own() {
        let legion = Legion {
            ports: vec![10, 11, 12, 13, 14],
            ..Legion::of(5)
        };
        assert_eq!(legion.quorum, 3);
        assert_eq!(
            legion.member_via(3, |peer| 2030 + peer as u16),
            "legion = failover 127.0.0.1:13 9996 aes-256-cbc:secret1\n\
             legion-node = failover 127.0.0.1:2030\n\
             legion-node = failover 127.0.0.1:2031\n\
             legion-node = failover 127.0.0.1:2032\n\
             legion-node = failover 127.0.0.1:2034\n\
             legion-quorum = failover 3\n"
        );
        let direct = legion.member(0);
        assert!(direct.contains("legion-node = failover 127.0.0.1:14\n"));
        assert!(!direct.contains("legion-node = failover 127.0.0.1:10\n"));
    }
}
