//! The account's servers: `GET /server`, and the addresses that a failover IP can be switched to.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Value, json};

use super::errors;
use crate::http::Answer;

/// The number of the first server.
const FIRST_NUMBER: usize = 321;

#[derive(Default)]
pub(super) struct Servers(Vec<Server>);

#[derive(Clone, Copy)]
struct Server {
    /// `None` for a server that only has IPv6.
    ip: Option<IpAddr>,
    ipv6_net: Option<IpAddr>,
}

impl Servers {
    /// A server for each IPv4 address, with its IPv6 subnet if it has one, and one for each other
    /// IPv6 address.
    pub(super) fn new(addresses: &[IpAddr], ipv6_nets: &[(IpAddr, Ipv6Addr)]) -> Servers {
        let net_of = |ip: IpAddr| {
            let mut nets = ipv6_nets.iter();
            nets.find(|(server, _)| *server == ip)
                .map(|(_, net)| IpAddr::from(*net))
        };
        let is_net = |ip: IpAddr| ipv6_nets.iter().any(|(_, net)| IpAddr::from(*net) == ip);
        let servers = addresses.iter().filter_map(|&ip| match ip {
            IpAddr::V4(_) => Some(Server {
                ip: Some(ip),
                ipv6_net: net_of(ip),
            }),
            IpAddr::V6(_) => (!is_net(ip)).then_some(Server {
                ip: None,
                ipv6_net: Some(ip),
            }),
        });
        Servers(servers.collect())
    }

    /// Whether a server has this main address.
    pub(super) fn have(&self, ip: IpAddr) -> bool {
        let mut servers = self.0.iter();
        servers.any(|server| server.ip == Some(ip) || server.ipv6_net == Some(ip))
    }

    /// The answer to `GET /server`.
    pub(super) fn list(&self) -> Result<Answer, Answer> {
        if self.0.is_empty() {
            return Err(errors::server_not_found());
        }
        let all: Vec<Value> = self.0.iter().enumerate().map(object).collect();
        Ok(Answer::json(200, &json!(all)))
    }
}

fn object((index, server): (usize, &Server)) -> Value {
    json!({"server": {
        "server_ip": server.ip,
        "server_ipv6_net": server.ipv6_net,
        "server_number": FIRST_NUMBER + index,
        "server_name": format!("node{}", index + 1),
        "status": "ready",
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subnet_belongs_to_its_server_or_is_one() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let nets = [(ip("1.1.1.1"), "2a01:4f8:1::".parse().unwrap())];
        let addresses = ["1.1.1.1", "2a01:4f8:1::", "2.2.2.2", "2a01:4f8:3::"].map(ip);
        let servers = Servers::new(&addresses, &nets);
        assert!(addresses.iter().all(|&ip| servers.have(ip)));
        assert!(!servers.have(ip("2a01:4f8:2::")));
        let list: Value = serde_json::from_slice(&servers.list().unwrap().body).unwrap();
        let fields = |field: &str| -> Vec<Value> {
            let all = list.as_array().unwrap().iter();
            all.map(|server| server["server"][field].clone()).collect()
        };
        assert_eq!(
            json!(fields("server_ip")),
            json!(["1.1.1.1", "2.2.2.2", null])
        );
        assert_eq!(
            json!(fields("server_ipv6_net")),
            json!(["2a01:4f8:1::", null, "2a01:4f8:3::"])
        );
        assert_eq!(json!(fields("server_number")), json!([321, 322, 323]));
        assert_eq!(
            json!(fields("server_name")),
            json!(["node1", "node2", "node3"])
        );
        let nothing = Servers::default().list().unwrap_err();
        assert_eq!(nothing.status, 404);
    }
}
