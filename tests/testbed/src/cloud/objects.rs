//! Floating IPs, servers and Networks as reads show them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use serde_json::{Value, json};

use super::inventory::{AliasList, Floating, Inventory};
use super::settings::{Network, Server};

/// What a read sees: the time, and the server that a bad read shows every address at.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) at: Instant,
    pub(super) bad: Option<Option<u64>>,
}

impl Inventory {
    pub(super) fn floating_ip_objects(&self, view: View) -> Vec<Value> {
        let all = self.floating_ips.iter();
        all.map(|floating| floating_ip_object(floating, view))
            .collect()
    }

    pub(super) fn server_objects(&self, view: View) -> Vec<Value> {
        let all = self.servers.iter();
        all.map(|server| self.server_object(server, view)).collect()
    }

    pub(super) fn network_objects(&self) -> Vec<Value> {
        let all = self.networks.iter();
        all.map(|network| self.network_object(network)).collect()
    }

    fn server_object(&self, server: &Server, view: View) -> Value {
        let id = server.id;
        let private: Vec<Value> = self
            .aliases
            .iter()
            .filter(|list| list.server == id)
            .map(|list| {
                json!({
                    "network": list.network,
                    "ip": list.own,
                    "alias_ips": self.shown_aliases(list, view),
                    "mac_address": format!("86:00:00:00:{:02x}:{:02x}", id / 256 % 256, id % 256),
                })
            })
            .collect();
        let floating: Vec<u64> = self
            .floating_ips
            .iter()
            .filter(|floating| shown_server(floating, view) == Some(id))
            .map(|floating| floating.settings.id)
            .collect();
        json!({
            "id": id,
            "name": server.name,
            "status": "running",
            "created": "2025-01-30T23:55:00+00:00",
            "public_net": {
                "ipv4": {"ip": format!("198.51.100.{}", id % 256), "blocked": false},
                "ipv6": {"ip": format!("2001:db8:{:x}::/64", id % 0x1_0000), "blocked": false},
                "floating_ips": floating,
            },
            "private_net": private,
            "locked": false,
            "labels": {},
        })
    }

    fn shown_aliases(&self, list: &AliasList, view: View) -> Vec<Ipv4Addr> {
        match view.bad {
            None => list.ips.shown(view.at).clone(),
            Some(server) if server == Some(list.server) => {
                let all = self.aliases.iter();
                all.filter(|other| other.network == list.network)
                    .flat_map(|other| other.ips.value.iter().copied())
                    .collect()
            }
            Some(_) => Vec::new(),
        }
    }

    fn network_object(&self, network: &Network) -> Value {
        let attached = self.aliases.iter();
        let servers: Vec<u64> = attached
            .filter(|list| list.network == network.id)
            .map(|list| list.server)
            .collect();
        let range = format!("{}/{}", network.ip, network.prefix);
        json!({
            "id": network.id,
            "name": network.name,
            "ip_range": range,
            "subnets": [{
                "type": "cloud",
                "ip_range": range,
                "network_zone": "eu-central",
                "gateway": Ipv4Addr::from_bits(network.ip.to_bits().saturating_add(1)),
            }],
            "routes": [],
            "servers": servers,
            "protection": {"delete": false},
            "labels": {},
            "created": "2025-01-30T23:50:00+00:00",
        })
    }
}

fn shown_server(floating: &Floating, view: View) -> Option<u64> {
    let shown = *floating.server.shown(view.at);
    view.bad.unwrap_or(shown)
}

fn floating_ip_object(floating: &Floating, view: View) -> Value {
    let settings = &floating.settings;
    let (ip, kind) = match settings.ip {
        IpAddr::V4(ip) => (ip.to_string(), "ipv4"),
        IpAddr::V6(ip) => (format!("{ip}/64"), "ipv6"),
    };
    json!({
        "id": settings.id,
        "name": settings.name,
        "description": "",
        "ip": ip,
        "type": kind,
        "server": shown_server(floating, view),
        "dns_ptr": [],
        "home_location": {"id": 1, "name": "fsn1", "network_zone": "eu-central"},
        "blocked": settings.blocked,
        "protection": {"delete": false},
        "labels": {},
        "created": "2025-01-30T23:50:00+00:00",
    })
}
