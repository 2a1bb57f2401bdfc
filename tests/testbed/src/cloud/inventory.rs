//! The project's Floating IPs, servers and Networks: where each address is.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::settings::{FloatingIp, Network, Server, Settings};

pub(super) struct Inventory {
    pub(super) floating_ips: Vec<Floating>,
    pub(super) servers: Vec<Server>,
    pub(super) networks: Vec<Network>,
    pub(super) aliases: Vec<AliasList>,
    unreleased: Vec<Unreleased>,
    pub(super) release_time: Duration,
}

pub(super) struct Floating {
    pub(super) settings: FloatingIp,
    pub(super) server: Lagging<Option<u64>>,
}

/// The alias IPs of a server in a Network.
pub(super) struct AliasList {
    pub(super) server: u64,
    pub(super) network: u64,
    pub(super) own: Ipv4Addr,
    pub(super) ips: Lagging<Vec<Ipv4Addr>>,
}

/// An address that was taken off a server lately.
struct Unreleased {
    network: u64,
    ip: Ipv4Addr,
    from: u64,
    until: Instant,
}

/// A value that reads may show late.
pub(super) struct Lagging<T> {
    pub(super) value: T,
    shown: Option<(T, Instant)>,
}

impl<T> Lagging<T> {
    fn new(value: T) -> Lagging<T> {
        Lagging { value, shown: None }
    }

    /// Reads show the old value for `lag`.
    fn set(&mut self, value: T, lag: Duration, now: Instant) {
        let old = std::mem::replace(&mut self.value, value);
        self.shown = (!lag.is_zero()).then(|| (old, now + lag));
    }

    pub(super) fn shown(&self, at: Instant) -> &T {
        match &self.shown {
            Some((old, until)) if at < *until => old,
            _ => &self.value,
        }
    }
}

/// What an action changes.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Assign {
        floating_ip: u64,
        server: Option<u64>,
    },
    Aliases {
        server: u64,
        network: u64,
        ips: Vec<Ipv4Addr>,
    },
}

/// An address, and the server that it is at now.
pub(super) type Move = (IpAddr, Option<u64>);

impl Inventory {
    pub(super) fn new(settings: &Settings) -> Inventory {
        let aliases = settings.servers.iter().flat_map(|server| {
            server.private.iter().map(|attachment| AliasList {
                server: server.id,
                network: attachment.network,
                own: attachment.ip,
                ips: Lagging::new(attachment.aliases.clone()),
            })
        });
        let floating_ips = settings.floating_ips.iter().map(|settings| Floating {
            settings: settings.clone(),
            server: Lagging::new(settings.server),
        });
        Inventory {
            floating_ips: floating_ips.collect(),
            servers: settings.servers.clone(),
            networks: settings.networks.clone(),
            aliases: aliases.collect(),
            unreleased: Vec::new(),
            release_time: settings.release_time,
        }
    }

    pub(super) fn has_server(&self, id: u64) -> bool {
        self.servers.iter().any(|server| server.id == id)
    }

    /// The Floating IP, and the server that it is assigned to.
    pub(super) fn floating_ip(&self, id: u64) -> Option<(&FloatingIp, Option<u64>)> {
        let mut all = self.floating_ips.iter();
        let floating = all.find(|floating| floating.settings.id == id)?;
        Some((&floating.settings, floating.server.value))
    }

    /// The id of the Floating IP with this address.
    pub(super) fn floating_ip_at(&self, ip: IpAddr) -> Option<u64> {
        let mut all = self.floating_ips.iter();
        let floating = all.find(|floating| floating.settings.ip == ip)?;
        Some(floating.settings.id)
    }

    /// The server that a Floating IP or an alias IP is at.
    pub(super) fn holder(&self, ip: IpAddr) -> Option<u64> {
        if let Some(id) = self.floating_ip_at(ip) {
            return self.floating_ip(id)?.1;
        }
        let IpAddr::V4(ip) = ip else { return None };
        let mut lists = self.aliases.iter();
        Some(lists.find(|list| list.ips.value.contains(&ip))?.server)
    }

    /// The alias IPs of a server in a Network that it is attached to.
    pub(super) fn aliases(&self, server: u64, network: u64) -> Option<&[Ipv4Addr]> {
        let mut lists = self.aliases.iter();
        let list = lists.find(|list| (list.server, list.network) == (server, network))?;
        Some(&list.ips.value)
    }

    /// Whether an address of a Network is another server's.
    pub(super) fn is_taken(&self, ip: Ipv4Addr, network: u64, by_other_than: u64) -> bool {
        self.aliases.iter().any(|list| {
            list.network == network
                && (list.own == ip
                    || (list.server != by_other_than && list.ips.value.contains(&ip)))
        })
    }

    /// Whether an address was taken off another server and is not available again yet.
    pub(super) fn is_unreleased(
        &self,
        ip: Ipv4Addr,
        network: u64,
        for_server: u64,
        now: Instant,
    ) -> bool {
        self.unreleased.iter().any(|one| {
            (one.ip, one.network) == (ip, network) && one.from != for_server && now < one.until
        })
    }

    /// Makes a change; reads show the old state for `lag`.
    pub(super) fn apply(&mut self, effect: Effect, lag: Duration, now: Instant) -> Vec<Move> {
        match effect {
            Effect::Assign {
                floating_ip,
                server,
            } => {
                let mut all = self.floating_ips.iter_mut();
                let Some(floating) = all.find(|floating| floating.settings.id == floating_ip)
                else {
                    return Vec::new();
                };
                floating.server.set(server, lag, now);
                vec![(floating.settings.ip, server)]
            }
            Effect::Aliases {
                server,
                network,
                ips,
            } => self.set_aliases(server, network, ips, lag, now),
        }
    }

    fn set_aliases(
        &mut self,
        server: u64,
        network: u64,
        ips: Vec<Ipv4Addr>,
        lag: Duration,
        now: Instant,
    ) -> Vec<Move> {
        let mut lists = self.aliases.iter_mut();
        let list = lists.find(|list| (list.server, list.network) == (server, network));
        let Some(list) = list else {
            return Vec::new();
        };
        let old = list.ips.value.clone();
        list.ips.set(ips.clone(), lag, now);
        let removed = old.iter().filter(|ip| !ips.contains(ip));
        let added = ips.iter().filter(|ip| !old.contains(ip));
        self.unreleased.retain(|one| now < one.until);
        for &ip in removed.clone() {
            self.unreleased
                .retain(|one| (one.ip, one.network) != (ip, network));
            self.unreleased.push(Unreleased {
                network,
                ip,
                from: server,
                until: now + self.release_time,
            });
        }
        let removed = removed.map(|&ip| (ip.into(), None));
        let added = added.map(|&ip| (ip.into(), Some(server)));
        removed.chain(added).collect()
    }
}
