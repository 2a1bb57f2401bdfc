//! Asks the API for what a check wants to know: two or three requests, which change nothing.

use std::time::{Duration, Instant};

use super::api::ApiFailure;
use super::{Alias, Floating, floating};
use crate::http::{Link, SetupError};
use crate::order::{Cloud, Order};
use crate::provider::{Goal, Shared};

/// What was learnt about one address.
pub struct Survey {
    /// How the last answer came; `None` if the API was not asked.
    pub link: Option<Link>,
    /// A request with the token has succeeded.
    pub is_token_accepted: bool,
    /// Which server this is.
    pub server: Result<ServerFound, ApiFailure>,
    /// `None`: it was not asked for, because that would have failed alike.
    pub address: Option<Result<AddressFound, ApiFailure>>,
}

impl Survey {
    pub fn failures(&self) -> impl Iterator<Item = &ApiFailure> {
        let server = self.server.as_ref().err();
        let address = self.address.as_ref().and_then(|found| found.as_ref().err());
        server.into_iter().chain(address)
    }
}

/// This server, which is in the token's project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFound {
    /// In words, with its name and its id.
    pub title: String,
    /// Something is being done to it, so that it cannot be changed now.
    pub is_locked: bool,
}

/// What an address is to the API, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    FloatingIp(u64),
    /// It is in the range of this Network.
    OfNetwork(u64),
}

/// An address of the token's project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFound {
    pub resource: Resource,
    /// The server that has it, in words.
    pub holder: Option<String>,
    /// Whether that is this server; `None` if it is not known which server this is.
    pub is_here: Option<bool>,
    /// Hetzner has locked it.
    pub is_blocked: bool,
}

/// Asks about the address of an order, for at most `within`.
///
/// # Errors
/// No request can be made.
pub fn survey(
    order: &Order,
    cloud: &Cloud,
    shared: &Shared,
    within: Duration,
) -> Result<Survey, SetupError> {
    let end = Instant::now() + within;
    let (goal, shared) = (Goal::Here, &shared.cloud);
    Ok(match order.alias_ip() {
        Some(ip) => Alias::new(order, ip, cloud, goal, shared)?.survey(end),
        None => Floating::new(order, cloud, goal, shared)?.survey(end),
    })
}

impl Floating {
    fn survey(mut self, end: Instant) -> Survey {
        let server = self.server(end);
        // Without a connection or with a refused token the rest would fail alike.
        let may_ask = !server
            .as_ref()
            .is_err_and(|failure| failure.refuses_all() || failure.has_no_answer());
        let us = server.as_ref().ok().map(|server| server.id);
        let address = may_ask.then(|| {
            let found = floating::find(&mut self.api, self.ip, end)?;
            let is_here = us.map(|us| found.server == Some(us));
            let holder = match (&server, found.server) {
                (Ok(server), Some(id)) if server.id == id => Some(server.title(&self.api)),
                (_, id) => id.map(|id| format!("server {id}")),
            };
            Ok(AddressFound {
                resource: Resource::FloatingIp(found.id),
                holder,
                is_here,
                is_blocked: found.blocked,
            })
        });
        Survey {
            link: self.api.last_link(),
            is_token_accepted: self.api.is_token_accepted(),
            server: server.map(|server| ServerFound {
                title: server.title(&self.api),
                is_locked: server.locked,
            }),
            address,
        }
    }
}

impl Alias {
    fn survey(mut self, end: Instant) -> Survey {
        let (server, address) = match self.server(end) {
            Err(failure) => (Err(failure), None),
            Ok(server) => {
                let found = self.find(end).map(|found| AddressFound {
                    resource: Resource::OfNetwork(found.network),
                    is_here: Some(found.holder.as_ref().is_some_and(|it| it.id == server.id)),
                    holder: found.holder.map(|holder| holder.title(&self.api)),
                    is_blocked: false,
                });
                (Ok(server), Some(found))
            }
        };
        Survey {
            link: self.api.last_link(),
            is_token_accepted: self.api.is_token_accepted(),
            server: server.map(|server| ServerFound {
                title: server.title(&self.api),
                is_locked: server.locked,
            }),
            address,
        }
    }
}
