//! Facts about this host: its addresses, and the one that it sends from.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

use crate::command::report::{Level, Topic};
use crate::http;
use crate::order::Order;
use crate::sys::net::{self, InterfaceAddress};

/// A fact without its place.
type Finding = (Topic, Level, String);

/// What this host has to do with the addresses of an order. `active_ip`: the address of the server
/// that is to receive the other, where the order names it. `netmask`: the failover IP's, if the
/// webservice has told. `service`: where requests go, if there was a connection.
pub fn check(
    order: &Order,
    active_ip: Option<IpAddr>,
    netmask: Option<IpAddr>,
    service: Option<SocketAddr>,
) -> Vec<Finding> {
    let subnet = Subnet::new(order.ip, netmask);
    let mut findings = match net::interface_addresses() {
        Ok(addresses) => active_ip
            .map(|active_ip| host(active_ip, &addresses))
            .into_iter()
            .chain([interface(subnet, &addresses)])
            .collect(),
        Err(error) => {
            let text = format!("the addresses of this host cannot be read: {error}");
            vec![(Topic::Interface, Level::Warning, text)]
        }
    };
    let service = service.map_or_else(|| look_up(order), |service| vec![service]);
    let sources: Vec<IpAddr> = service.iter().filter_map(|to| source(*to)).collect();
    findings.push(source_fact(subnet, order.action.address(), &sources));
    findings
}

/// A failover IP, or all addresses of a failover subnet.
#[derive(Debug, Clone, Copy)]
struct Subnet {
    ip: IpAddr,
    netmask: IpAddr,
}

impl Subnet {
    /// An IPv6 one is a /64 unless the webservice says otherwise, as it names it by its network.
    fn new(ip: IpAddr, netmask: Option<IpAddr>) -> Subnet {
        let usual = match ip {
            IpAddr::V4(_) => IpAddr::from([255; 4]),
            IpAddr::V6(_) => IpAddr::from([0xffff, 0xffff, 0xffff, 0xffff, 0, 0, 0, 0]),
        };
        let netmask = netmask.filter(|netmask| netmask.is_ipv4() == ip.is_ipv4());
        Subnet {
            ip,
            netmask: netmask.unwrap_or(usual),
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.ip, self.netmask, address) {
            (IpAddr::V4(ip), IpAddr::V4(netmask), IpAddr::V4(address)) => {
                (ip.to_bits() ^ address.to_bits()) & netmask.to_bits() == 0
            }
            (IpAddr::V6(ip), IpAddr::V6(netmask), IpAddr::V6(address)) => {
                (ip.to_bits() ^ address.to_bits()) & netmask.to_bits() == 0
            }
            _ => false,
        }
    }
}

fn host(active_ip: IpAddr, addresses: &[InterfaceAddress]) -> Finding {
    let subnet = Subnet::new(active_ip, None);
    match addresses.iter().find(|found| subnet.has(found.address)) {
        Some(InterfaceAddress { interface, address }) => (
            Topic::Host,
            Level::Ok,
            match active_ip.is_ipv4() {
                true => format!("active_ip {active_ip} is an address of this host ({interface})"),
                false => format!(
                    "active_ip {active_ip} is this host's network ({address} on {interface})"
                ),
            },
        ),
        None => (
            Topic::Host,
            Level::Warning,
            format!(
                "active_ip {active_ip} is not an address of this host: a takeover would route the \
                 failover IP to another server; write the main IP of this one"
            ),
        ),
    }
}

fn interface(subnet: Subnet, addresses: &[InterfaceAddress]) -> Finding {
    let ip = subnet.ip;
    match addresses.iter().find(|found| subnet.has(found.address)) {
        Some(InterfaceAddress { interface, address }) if *address == ip => (
            Topic::Interface,
            Level::Ok,
            format!("{ip} is configured on {interface}"),
        ),
        Some(InterfaceAddress { interface, address }) => (
            Topic::Interface,
            Level::Ok,
            format!("{address} of the subnet {ip} is configured on {interface}"),
        ),
        None => (
            Topic::Interface,
            Level::Warning,
            format!(
                "{ip} is not configured on any interface of this host, which will not answer to it: \
                 configure it on every server that may receive it"
            ),
        ),
    }
}

fn source_fact(subnet: Subnet, kind: &str, sources: &[IpAddr]) -> Finding {
    let ip = subnet.ip;
    let (level, text) = match (sources.iter().find(|source| subnet.has(**source)), sources) {
        (Some(source), _) => (
            Level::Warning,
            format!(
                "this host sends to the webservice from {source}, which belongs to the {kind}: \
                 the answers go to the server that has it; give the address preferred_lft 0, so that \
                 it is not used as a source address"
            ),
        ),
        (None, []) => (
            Level::Warning,
            "it is not known from which address this host sends to the webservice: its name does not \
             resolve, or there is no route to it"
                .into(),
        ),
        (None, sources) => {
            let sources: Vec<String> = sources.iter().map(IpAddr::to_string).collect();
            let sources = sources.join(" or ");
            let text = format!("this host sends to the webservice from {sources}, not from {ip}");
            (Level::Ok, text)
        }
    };
    (Topic::Source, level, text)
}

/// The address that this host sends from. Nothing is sent for it.
fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Where requests would go to: the first address of each family.
fn look_up(order: &Order) -> Vec<SocketAddr> {
    let Ok(proxy) = http::proxy_for(order.url()) else {
        return Vec::new();
    };
    let (host, port) = match &proxy {
        Some(proxy) => (proxy.host(), proxy.port()),
        None => (order.url().host(), 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_or_else(|_| Vec::new(), Iterator::collect);
    let usable = |is_ipv4: bool| {
        let mut found = found.iter().copied();
        found.find(|to| to.is_ipv4() == is_ipv4 && (proxy.is_some() || order.family.has(to.ip())))
    };
    [usable(true), usable(false)]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(list: &[&str]) -> Vec<InterfaceAddress> {
        let address = |text: &&str| InterfaceAddress {
            interface: "eth0".into(),
            address: ip(text),
        };
        list.iter().map(address).collect()
    }

    #[test]
    fn the_active_ip_is_an_address_of_this_host_or_its_network() {
        for (active, has, level) in [
            ("1.1.1.1", &["127.0.0.1", "1.1.1.1"][..], Level::Ok),
            ("1.1.1.1", &["1.1.1.2"], Level::Warning),
            ("1.1.1.1", &[], Level::Warning),
            ("2a01:4f8:1::", &["2a01:4f8:1::2"], Level::Ok),
            (
                "2a01:4f8:1::",
                &["2a01:4f8:2::2", "1.1.1.1"],
                Level::Warning,
            ),
        ] {
            assert_eq!(
                host(ip(active), &addresses(has)).1,
                level,
                "{active} {has:?}"
            );
        }
    }

    #[test]
    fn any_address_of_a_subnet_will_do() {
        for (failover, netmask, has, level) in [
            ("4.4.4.4", None, "4.4.4.4", Level::Ok),
            (
                "4.4.4.4",
                Some("255.255.255.255"),
                "4.4.4.5",
                Level::Warning,
            ),
            ("4.4.4.0", Some("255.255.255.248"), "4.4.4.7", Level::Ok),
            (
                "4.4.4.0",
                Some("255.255.255.248"),
                "4.4.4.8",
                Level::Warning,
            ),
            ("2a01:4f8:fff1::", None, "2a01:4f8:fff1::9", Level::Ok),
            ("2a01:4f8:fff1::", None, "2a01:4f8:fff2::9", Level::Warning),
        ] {
            let subnet = Subnet::new(ip(failover), netmask.map(ip));
            assert_eq!(
                interface(subnet, &addresses(&[has])).1,
                level,
                "{failover} {has}"
            );
        }
    }

    #[test]
    fn the_failover_ip_as_source_address_is_warned_of() {
        let subnet = Subnet::new(ip("4.4.4.0"), Some(ip("255.255.255.248")));
        for (sources, level) in [
            (&["1.1.1.1"][..], Level::Ok),
            (&["1.1.1.1", "4.4.4.7"], Level::Warning),
            (&[], Level::Warning),
        ] {
            let sources: Vec<IpAddr> = sources.iter().map(|source| ip(source)).collect();
            assert_eq!(
                source_fact(subnet, "failover IP", &sources).1,
                level,
                "{sources:?}"
            );
        }
    }

    #[test]
    fn the_source_address_of_loopback_is_loopback() {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(source(to), Some(ip("127.0.0.1")));
    }
}
