//! The alias IPs that nobody moves: somebody else changes them, and nobody may lose them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use testbed::cloud::{Cloud, Received};

use super::cloud::{NETWORK, SERVERS, id, sender};

/// Somebody changes a list in each so many calls.
const CALLS: usize = 4;

pub struct Others {
    /// By server, in order.
    lists: Vec<Vec<Ipv4Addr>>,
    edits: Vec<Edit>,
    calls: usize,
}

/// A change by somebody else.
struct Edit {
    server: usize,
    ip: Ipv4Addr,
    /// It was made between the two.
    from: Instant,
    until: Instant,
}

/// A server's own alias IPs: two that stay, and a third one that comes and goes.
fn own(server: usize) -> [Ipv4Addr; 3] {
    let first = 10 + 10 * u8::try_from(server).expect("a few servers");
    [0, 1, 2].map(|number| Ipv4Addr::new(10, 0, 0, first + number))
}

impl Others {
    pub fn new() -> Others {
        Others {
            lists: (0..SERVERS)
                .map(|server| own(server)[..2].to_vec())
                .collect(),
            edits: Vec::new(),
            calls: 0,
        }
    }

    /// What the servers have at the start.
    pub fn lists(&self) -> &[Vec<Ipv4Addr>] {
        &self.lists
    }

    /// Somebody adds or removes an alias IP of a server, each time of another one.
    pub fn edit(&mut self, cloud: &Cloud) {
        self.calls += 1;
        if self.calls % CALLS != 0 {
            return;
        }
        let server = self.calls / CALLS % SERVERS;
        let [.., ip] = own(server);
        let list = &mut self.lists[server];
        let adds = !list.contains(&ip);
        let change = |ips: &mut Vec<Ipv4Addr>| match adds {
            true => ips.push(ip),
            false => ips.retain(|other| *other != ip),
        };
        let from = Instant::now();
        if cloud.edit_aliases(id(server), NETWORK, change) {
            change(list);
            let until = Instant::now();
            self.edits.push(Edit {
                server,
                ip,
                from,
                until,
            });
        }
    }

    /// What is not as it was left. What cannot be helped does not count: the API can only write whole
    /// lists, so an edit between a node's read and its write is undone.
    pub fn losses(&mut self, cloud: &Cloud, ours: &[IpAddr]) -> Vec<String> {
        let mut losses = Vec::new();
        for server in 0..SERVERS {
            let mut actual = cloud.aliases(id(server), NETWORK);
            actual.retain(|ip| !ours.contains(&IpAddr::V4(*ip)));
            let wanted = std::mem::replace(&mut self.lists[server], actual.clone());
            let lost = wanted.iter().filter(|ip| !actual.contains(ip));
            let revived = actual.iter().filter(|ip| !wanted.contains(ip));
            for (ip, what) in lost
                .map(|ip| (ip, "has lost"))
                .chain(revived.map(|ip| (ip, "has again")))
            {
                if !self.is_excused(cloud, server, *ip) {
                    losses.push(format!("server {} {what} {ip}", id(server)));
                }
            }
        }
        losses
    }

    /// Whether the last edit of the address came between the read and the write of a node.
    fn is_excused(&self, cloud: &Cloud, server: usize, ip: Ipv4Addr) -> bool {
        let mut edits = self.edits.iter().rev();
        let Some(edit) = edits.find(|edit| edit.server == server && edit.ip == ip) else {
            return false;
        };
        let path = format!("/v1/servers/{}/actions/change_alias_ips", id(server));
        let requests = cloud.requests();
        let mut writes = requests.iter().enumerate();
        writes.any(|(place, write)| {
            write.path == path
                && edit.from <= write.at
                && read_before(&requests[..place], write).is_some_and(|read| read <= edit.until)
        })
    }
}

/// When the sender of a write has read its list.
fn read_before(earlier: &[Received], write: &Received) -> Option<Instant> {
    let is_read = |request: &&Received| {
        request.method == "GET"
            && request.path.starts_with("/v1/servers")
            && sender(request) == sender(write)
    };
    earlier.iter().rev().find(is_read).map(|read| read.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::service::alias::AliasService;
    use crate::service::{Kind, Service as _};

    #[test]
    fn what_somebody_else_changes_is_expected_and_what_a_node_changes_is_a_loss() {
        let setup = Plan::from_seed(1, Kind::Alias, 3).setup;
        let mut service = AliasService::start(&setup).unwrap();
        for _ in 0..CALLS * SERVERS {
            service.edit();
            assert_eq!(service.losses(), [""; 0]);
        }
        let address = setup.addresses[0];
        assert!(service.move_by_hand(address, 1));
        assert_eq!(service.holder(address), Some(1));
        assert_eq!(service.losses(), [""; 0], "it is not among the others");
        let [first, _, third] = own(1);
        let cloud = service.cloud();
        cloud.set_aliases(id(1), NETWORK, &[first, third]);
        assert_eq!(service.losses(), ["server 43 has lost 10.0.0.21"]);
        assert_eq!(service.losses(), [""; 0], "each loss is told once");
    }
}
