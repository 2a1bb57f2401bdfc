//! Servers in private Networks: their alias IPs, and which Network an address belongs to.

use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::{Kind, Trouble};
use super::api::{Api, ApiFailure};
use super::problem::CloudProblem;
use crate::order::Named;

/// A server, as far as its private Networks go. Source: the API's reference, "Servers".
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub id: u64,
    #[serde(default)]
    pub name: String,
    /// Something is being done to it, so that it cannot be changed.
    #[serde(default)]
    pub locked: bool,
    #[serde(default)]
    pub private_net: Vec<Attachment>,
}

/// A server in a Network. Without its list of alias IPs it cannot be read, because that list is
/// written back.
#[derive(Debug, Clone, Deserialize)]
pub struct Attachment {
    pub network: u64,
    #[serde(default)]
    ip: String,
    /// As the API writes them, so that each survives being written back.
    pub alias_ips: Vec<String>,
}

#[derive(Deserialize)]
struct OneServer {
    server: Server,
}

/// Source: the API's reference, "Networks".
#[derive(Deserialize)]
struct Network {
    id: u64,
    name: String,
    ip_range: String,
}

#[derive(Deserialize)]
struct OneNetwork {
    network: Network,
}

impl Attachment {
    /// Whether the address is an alias IP of the server here.
    pub fn has_alias(&self, ip: Ipv4Addr) -> bool {
        self.alias_ips.iter().any(|alias| is(alias, ip))
    }

    /// The other alias IPs.
    pub fn aliases_without(&self, ip: Ipv4Addr) -> Vec<&str> {
        let others = self.alias_ips.iter().filter(|alias| !is(alias, ip));
        others.map(String::as_str).collect()
    }
}

impl Server {
    pub fn attachment(&self, network: u64) -> Option<&Attachment> {
        let mut all = self.private_net.iter();
        all.find(|attachment| attachment.network == network)
    }

    /// Whether the address is its alias IP in this Network.
    pub fn has_alias(&self, network: u64, ip: Ipv4Addr) -> bool {
        let attachment = self.attachment(network);
        attachment.is_some_and(|attachment| attachment.has_alias(ip))
    }

    /// Whether the address is its own in this Network.
    pub fn owns(&self, network: u64, ip: Ipv4Addr) -> bool {
        let attachment = self.attachment(network);
        attachment.is_some_and(|attachment| is(&attachment.ip, ip))
    }

    /// Whether it has the address in any Network.
    fn has(&self, ip: Ipv4Addr) -> bool {
        let mut all = self.private_net.iter();
        all.any(|attachment| attachment.has_alias(ip) || is(&attachment.ip, ip))
    }

    /// In words.
    pub fn title(&self, api: &Api) -> String {
        match self.name.as_str() {
            "" => format!("server {}", self.id),
            name => format!("server {} ({})", api.printable(name), self.id),
        }
    }
}

fn is(text: &str, ip: Ipv4Addr) -> bool {
    text.parse() == Ok(ip)
}

/// The server with this id.
///
/// # Errors
/// There is no usable answer, or there is no such server.
pub fn server(api: &mut Api, id: u64, end: Instant) -> Result<Server, ApiFailure> {
    match api.get(&format!("/servers/{id}"), end) {
        Ok(OneServer { server }) => Ok(server),
        Err(failure) if failure.has_code("not_found") => Err(unknown(id)),
        Err(failure) => Err(failure),
    }
}

/// The server with this name.
///
/// # Errors
/// There is no usable answer.
pub fn server_by_name(
    api: &mut Api,
    name: &str,
    end: Instant,
) -> Result<Option<Server>, ApiFailure> {
    by_name(api, "/servers", name, end, |server: &Server| &server.name)
}

/// What has this name in a list.
fn by_name<T: DeserializeOwned>(
    api: &mut Api,
    path: &str,
    name: &str,
    end: Instant,
    name_of: impl Fn(&T) -> &str,
) -> Result<Option<T>, ApiFailure> {
    let filter = serde_urlencoded::to_string([("name", name)]).unwrap_or_default();
    let mut found = None;
    api.list(path, &filter, end, &mut |one: T| {
        if name_of(&one) != name {
            return ControlFlow::Continue(());
        }
        found = Some(one);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// That the token's project has no such server.
pub fn unknown(id: u64) -> ApiFailure {
    Trouble::new(Kind::Final, CloudProblem::NoServer(id.to_string())).into()
}

/// The servers that have this address in some Network, and the one with the id `us`.
///
/// # Errors
/// There is no usable answer.
pub fn servers(
    api: &mut Api,
    ip: Ipv4Addr,
    us: u64,
    end: Instant,
) -> Result<Vec<Server>, ApiFailure> {
    let mut found = Vec::new();
    api.list("/servers", "", end, &mut |server: Server| {
        if server.id == us || server.has(ip) {
            found.push(server);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The Network that a key names.
///
/// # Errors
/// There is no usable answer, or there is no such Network.
pub fn named(api: &mut Api, named: &Named, end: Instant) -> Result<u64, ApiFailure> {
    let name = match named {
        Named::Id(id) => return Ok(*id),
        Named::Name(name) => name,
    };
    by_name(api, "/networks", name, end, |network: &Network| {
        &network.name
    })?
    .map(|network| network.id)
    .ok_or_else(|| {
        let shown = api.printable(name);
        Trouble::new(Kind::Final, CloudProblem::NoNetwork(shown)).into()
    })
}

/// The Networks of a server whose range contains the address: the id and the name of each.
///
/// # Errors
/// There is no usable answer.
pub fn around(
    api: &mut Api,
    server: &Server,
    ip: Ipv4Addr,
    end: Instant,
) -> Result<Vec<(u64, String)>, ApiFailure> {
    let mut found = Vec::new();
    for attachment in &server.private_net {
        let id = attachment.network;
        let OneNetwork { network } = api.get(&format!("/networks/{id}"), end)?;
        if contains(&network.ip_range, ip) {
            found.push((id, api.printable(&network.name)));
        }
    }
    Ok(found)
}

/// Whether a range, such as `10.0.0.0/16`, contains the address.
fn contains(range: &str, ip: Ipv4Addr) -> bool {
    let parse = || -> Option<(Ipv4Addr, u32)> {
        let (network, length) = range.split_once('/')?;
        Some((network.parse().ok()?, length.parse().ok()?))
    };
    let Some((network, length @ 0..=32)) = parse() else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    (network.to_bits() ^ ip.to_bits()) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_the_addresses_of_its_prefix() {
        for (range, ip, expected) in [
            ("10.0.0.0/16", "10.0.255.255", true),
            ("10.0.0.0/16", "10.1.0.0", false),
            ("10.0.0.0/8", "10.1.0.0", true),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("0.0.0.0/0", "10.0.0.2", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0", "10.0.0.0", false),
            ("x/16", "10.0.0.0", false),
        ] {
            assert_eq!(
                contains(range, ip.parse().unwrap()),
                expected,
                "{range} {ip}"
            );
        }
    }
}
