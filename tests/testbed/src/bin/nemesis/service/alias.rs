//! The mock Cloud: alias IPs in a private Network. Its servers have others as well, which nobody may lose.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use testbed::cloud::{Item, Received};

use super::cloud::{NETWORK, Project, SERVERS, id, number_of, sender};
use super::others::Others;
use super::{Request, Service};
use crate::setup::Setup;
use crate::timeline::Timeline;
use crate::trouble::Trouble;

const ALIASES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 100), Ipv4Addr::new(10, 0, 0, 101)];

/// So many addresses.
pub fn addresses(number: usize) -> Vec<IpAddr> {
    ALIASES[..number].iter().copied().map(IpAddr::V4).collect()
}

pub struct AliasService {
    project: Project,
    addresses: Vec<IpAddr>,
    others: Others,
}

impl AliasService {
    pub fn start(setup: &Setup) -> io::Result<AliasService> {
        let others = Others::new();
        let locked = (0..SERVERS).map(|server| Item::Server(id(server)));
        let project = Project::start(setup, Vec::new(), others.lists(), locked.collect())?;
        Ok(AliasService {
            project,
            addresses: setup.addresses.clone(),
            others,
        })
    }

    #[cfg(test)]
    pub fn cloud(&self) -> &testbed::cloud::Cloud {
        &self.project.cloud
    }

    /// The server and the list that a POST writes.
    fn write(&self, received: &Received) -> Option<Write> {
        let path = received.path.strip_prefix("/v1/servers/")?;
        let (server, _) = path.split_once("/actions/change_alias_ips")?;
        let aliases = received.json()["alias_ips"].clone();
        let mut aliases = aliases
            .as_array()?
            .iter()
            .filter_map(|alias| alias.as_str());
        Some(Write {
            server: number_of(server.parse().ok()?)?,
            has_ours: aliases.any(|alias| self.addresses.iter().any(|ip| ip.to_string() == alias)),
        })
    }
}

/// A list that a POST writes.
struct Write {
    server: usize,
    /// One of the addresses that are moved is in it.
    has_ours: bool,
}

impl Service for AliasService {
    fn port(&self) -> u16 {
        self.project.cloud.port()
    }

    fn timeline(&self) -> Timeline {
        self.project.timeline()
    }

    fn action(&self, node: usize, port: u16, ips: &[IpAddr], secret_file: &Path) -> String {
        let action = "hetzner-aliasip";
        let action = self.project.action(action, node, port, ips, secret_file);
        format!("{action},network={}", self.project.network_key())
    }

    fn secret(&self, node: usize) -> String {
        Project::secret(node)
    }

    fn secrets(&self) -> Vec<String> {
        Project::secrets()
    }

    fn title(&self, node: usize, _ip: IpAddr) -> String {
        self.project.title(node)
    }

    fn holder(&self, ip: IpAddr) -> Option<usize> {
        self.project.holder(ip)
    }

    fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.project.set_trouble(trouble);
    }

    /// Off its server and onto the other one, unless the API refuses that for now.
    fn move_by_hand(&mut self, ip: IpAddr, to: usize) -> bool {
        let IpAddr::V4(ip) = ip else { return true };
        let edit = |server, edit: &dyn Fn(&mut Vec<Ipv4Addr>)| {
            self.project.cloud.edit_aliases(id(server), NETWORK, edit)
        };
        match self.holder(ip.into()) {
            Some(holder) if holder == to => true,
            Some(holder) if !edit(holder, &|ips| ips.retain(|other| *other != ip)) => false,
            Some(_) | None => edit(to, &|ips| ips.push(ip)),
        }
    }

    fn edit(&mut self) {
        self.others.edit(&self.project.cloud);
    }

    fn losses(&mut self) -> Vec<String> {
        self.others.losses(&self.project.cloud, &self.addresses)
    }

    fn posts(&self) -> usize {
        self.project.cloud.posts()
    }

    fn requests(&self) -> Vec<Request> {
        // When a node last took an address off a server.
        let mut releases = [None; SERVERS];
        let requests = self.project.cloud.requests();
        let requests = requests.iter().map(|received| {
            let sender = sender(received);
            let node = sender.map(|(node, _)| node);
            let mut released = None;
            if let (Some(node), Some(write)) = (node, self.write(received)) {
                match write.server == node && write.has_ours {
                    true => released = releases[node],
                    false => releases[node] = Some(received.at),
                }
            }
            Request {
                at: received.at,
                node,
                is_post: received.method == "POST",
                is_refused: received.status == Some(401) && sender.is_some_and(|(_, wrong)| wrong),
                released,
            }
        });
        requests.collect()
    }
}
