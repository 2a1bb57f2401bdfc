//! What a POST would do, or why it is refused.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::Value;

use super::actions::Item;
use super::errors::{self, Refusal};
use super::inventory::Effect;
use super::project::{Project, not_found};
use super::requests::Route;
use crate::http::Answer;

/// An action to begin.
pub(super) struct Plan {
    pub(super) command: &'static str,
    /// What it is about, and locks.
    pub(super) items: Vec<Item>,
    pub(super) effect: Effect,
}

impl Project {
    /// What a POST would do.
    pub(super) fn plan(&self, route: Route, body: &[u8], now: Instant) -> Result<Plan, Answer> {
        let plan = match route {
            Route::Assign(id) => self.plan_assign(id, &object(body)?)?,
            Route::Unassign(id) => self.plan_unassign(id)?,
            Route::ChangeAliasIps(id) => self.plan_aliases(id, &object(body)?)?,
            _ => return Err(Refusal::MethodNotAllowed.answer()),
        };
        for &item in &plan.items {
            if self.actions.is_locked(item, now) {
                return Err(match item {
                    Item::FloatingIp(_) => Refusal::Locked
                        .saying("cannot perform operation because Floating IP is locked"),
                    Item::Server(_) | Item::Network(_) => Refusal::Locked.answer(),
                });
            }
        }
        self.check_available(&plan.effect, now)?;
        Ok(plan)
    }

    fn plan_assign(&self, id: u64, body: &Value) -> Result<Plan, Answer> {
        let (floating, holder) = self
            .inventory
            .floating_ip(id)
            .ok_or_else(|| not_found("Floating IP"))?;
        let server = number(body, "server")?;
        if !self.inventory.has_server(server) {
            return Err(not_found("server"));
        }
        if floating.blocked {
            return Err(Refusal::Forbidden.saying("the Floating IP is blocked"));
        }
        if holder == Some(server) {
            return Err(Refusal::FloatingIpAssigned.answer());
        }
        let effect = Effect::Assign {
            floating_ip: id,
            server: Some(server),
        };
        let items = vec![Item::Server(server), Item::FloatingIp(id)];
        Ok(Plan {
            command: "assign_floating_ip",
            items,
            effect,
        })
    }

    fn plan_unassign(&self, id: u64) -> Result<Plan, Answer> {
        let (_, holder) = self
            .inventory
            .floating_ip(id)
            .ok_or_else(|| not_found("Floating IP"))?;
        let server = holder.ok_or_else(|| {
            Refusal::ServiceError
                .saying("cannot unassign Floating IP because it is not assigned to a server")
        })?;
        let effect = Effect::Assign {
            floating_ip: id,
            server: None,
        };
        let items = vec![Item::Server(server), Item::FloatingIp(id)];
        Ok(Plan {
            command: "unassign_floating_ip",
            items,
            effect,
        })
    }

    fn plan_aliases(&self, server: u64, body: &Value) -> Result<Plan, Answer> {
        if !self.inventory.has_server(server) {
            return Err(not_found("server"));
        }
        let network = number(body, "network")?;
        let mut networks = self.inventory.networks.iter();
        let range = networks
            .find(|known| known.id == network)
            .ok_or_else(|| not_found("network"))?;
        if self.inventory.aliases(server, network).is_none() {
            let message = "the server is not attached to this network";
            return Err(errors::invalid_input("network", message));
        }
        let bad = |message| errors::invalid_input("alias_ips", message);
        let list = body["alias_ips"].as_array();
        let mut ips: Vec<Ipv4Addr> = Vec::new();
        for ip in list.ok_or_else(|| bad("Missing data for required field."))? {
            let ip = ip.as_str().and_then(|text| text.parse().ok());
            let ip = ip.ok_or_else(|| bad("Not a valid IPv4 address."))?;
            if !range.contains(ip) {
                return Err(bad("Not in the range of the network."));
            }
            if ips.contains(&ip) {
                return Err(bad("Not unique."));
            }
            ips.push(ip);
        }
        let effect = Effect::Aliases {
            server,
            network,
            ips,
        };
        let items = vec![Item::Server(server), Item::Network(network)];
        Ok(Plan {
            command: "change_alias_ips",
            items,
            effect,
        })
    }

    /// An alias IP belongs to one server, also one that is to get it.
    fn check_available(&self, effect: &Effect, now: Instant) -> Result<(), Answer> {
        let Effect::Aliases {
            server,
            network,
            ips,
        } = effect
        else {
            return Ok(());
        };
        let is_promised = |ip: &Ipv4Addr| {
            self.actions.effects().any(|other| match other {
                Effect::Aliases {
                    network: its, ips, ..
                } => its == network && ips.contains(ip),
                Effect::Assign { .. } => false,
            })
        };
        for ip in ips {
            if self.inventory.is_taken(*ip, *network, *server) || is_promised(ip) {
                return Err(Refusal::IpNotAvailable.answer());
            }
            if self.inventory.is_unreleased(*ip, *network, *server, now) {
                return Err(self.unreleased.answer());
            }
        }
        Ok(())
    }
}

fn object(body: &[u8]) -> Result<Value, Answer> {
    let value = serde_json::from_slice(body).ok().filter(Value::is_object);
    value.ok_or_else(|| Refusal::JsonError.answer())
}

fn number(body: &Value, field: &str) -> Result<u64, Answer> {
    let missing = || errors::invalid_input(field, "Missing data for required field.");
    body[field].as_u64().ok_or_else(missing)
}
