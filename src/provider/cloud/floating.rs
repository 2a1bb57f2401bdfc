//! Floating IPs: assigned to a server by one action.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::answer::{FLOATING_IP_ASSIGNED, Kind, Trouble};
use super::api::{ActionState, Api, ApiFailure, Resolve};
use super::network::Server;
use super::problem::CloudProblem;
use super::server::Identity;
use super::{Shared, TEMPO};
use crate::http::SetupError;
use crate::order::{Cloud, Order};
use crate::provider::{Goal, is_same_network};
use crate::takeover::{Change, Look, Problem, Provider, Tempo};

/// What was read so recently need not be read again before a change.
const FRESH: Duration = Duration::from_secs(1);

/// A Floating IP, and what is known of it.
pub struct Floating {
    pub(super) api: Api,
    identity: Identity,
    goal: Goal,
    /// The address; of an IPv6 network the first one.
    pub(super) ip: IpAddr,
    /// Its id, once it is known.
    id: Option<u64>,
    is_blocked: bool,
    /// Where it was last seen, and when.
    seen: Option<(Option<u64>, Instant)>,
    /// The action that was requested last, until its end was seen.
    action: Option<u64>,
    /// A change may be running, or reads may not show it yet.
    is_in_doubt: bool,
}

/// Source: the API's reference, "Floating IPs".
#[derive(Debug, Clone, Deserialize)]
pub struct Found {
    pub id: u64,
    /// An IPv4 address, or an IPv6 network with its length.
    ip: String,
    /// The server that it is assigned to.
    pub server: Option<u64>,
    /// Hetzner has locked it.
    #[serde(default)]
    pub blocked: bool,
}

#[derive(Deserialize)]
struct One {
    floating_ip: Found,
}

impl Found {
    fn is(&self, ip: IpAddr) -> bool {
        let bare = self.ip.split('/').next().unwrap_or_default();
        bare.parse().is_ok_and(|found| is_same_network(found, ip))
    }
}

/// The project's Floating IP with this address.
///
/// # Errors
/// There is no usable answer, or there is no such Floating IP.
pub fn find(api: &mut Api, ip: IpAddr, end: Instant) -> Result<Found, ApiFailure> {
    let mut found = None;
    api.list("/floating_ips", "", end, &mut |one: Found| {
        if !one.is(ip) {
            return ControlFlow::Continue(());
        }
        found = Some(one);
        ControlFlow::Break(())
    })?;
    found.ok_or_else(|| Trouble::new(Kind::Final, CloudProblem::NoFloatingIp(ip)).into())
}

impl Floating {
    /// Prepares everything for the first request, and sends nothing.
    ///
    /// # Errors
    /// A file, a certificate or the proxy that is configured cannot be used.
    pub fn new(
        order: &Order,
        cloud: &Cloud,
        goal: Goal,
        shared: &Shared,
    ) -> Result<Floating, SetupError> {
        Ok(Floating {
            api: Api::new(order, cloud)?,
            identity: Identity::new(cloud.server.as_ref(), &shared.metadata),
            goal,
            ip: order.ip,
            id: None,
            is_blocked: false,
            seen: None,
            action: None,
            is_in_doubt: false,
        })
    }

    /// This server, which must be in the token's project.
    pub(super) fn server(&mut self, end: Instant) -> Result<Server, ApiFailure> {
        self.identity.server(&mut self.api, end)
    }

    /// The server that it is to be assigned to.
    fn wanted(&mut self, end: Instant) -> Result<Option<u64>, ApiFailure> {
        match self.goal {
            Goal::Here => self.identity.id(&mut self.api, end).map(Some),
            Goal::Nowhere => Ok(None),
        }
    }

    fn read(&mut self, end: Instant) -> Result<Found, ApiFailure> {
        let found = match self.id {
            None => find(&mut self.api, self.ip, end)?,
            Some(id) => {
                let path = format!("/floating_ips/{id}");
                let One { floating_ip } = self.api.get(&path, end)?;
                match floating_ip.is(self.ip) {
                    true => floating_ip,
                    // An answer about another address must not be believed.
                    false => find(&mut self.api, self.ip, end)?,
                }
            }
        };
        self.id = Some(found.id);
        self.is_blocked = found.blocked;
        self.seen = Some((found.server, Instant::now()));
        Ok(found)
    }

    /// What has become of the action that was requested last: `None` if only a read can tell.
    fn follow(&mut self, end: Instant) -> Result<Option<Look>, ApiFailure> {
        let Some(action) = self.action else {
            return Ok(None);
        };
        Ok(match self.api.follow(action, end)? {
            ActionState::Running => Some(Look::Changing),
            ActionState::Failed(problem) => {
                self.action = None;
                self.is_in_doubt = false;
                Some(Look::Failed(self.noted(problem)))
            }
            // It has not moved before it was seen here (in 2020 it once had not).
            ActionState::Succeeded | ActionState::Unknown => {
                self.action = None;
                None
            }
        })
    }

    fn try_look(&mut self, end: Instant) -> Result<Look, ApiFailure> {
        if let Some(look) = self.follow(end)? {
            return Ok(look);
        }
        let wanted = self.wanted(end)?;
        let holder = self.read(end)?.server;
        Ok(match holder == wanted {
            true => Look::Ours,
            false => Look::Elsewhere {
                to: holder.map(|id| format!("server {id}")),
                settled: !self.is_in_doubt,
            },
        })
    }

    /// The request that is to be sent; `None` if the address is where it should be.
    fn prepare(&mut self, end: Instant) -> Result<Option<(u64, Option<u64>)>, ApiFailure> {
        let wanted = self.wanted(end)?;
        let fresh = self.seen.filter(|(_, at)| at.elapsed() < FRESH);
        let (id, holder) = match (self.id, fresh) {
            (Some(id), Some((holder, _))) => (id, holder),
            (Some(_) | None, _) => {
                let found = self.read(end)?;
                (found.id, found.server)
            }
        };
        Ok((holder != wanted).then_some((id, wanted)))
    }

    fn request(&mut self, id: u64, server: Option<u64>, end: Instant) -> Change {
        let answer = match server {
            Some(server) => {
                let path = format!("/floating_ips/{id}/actions/assign");
                self.api.post(&path, Some(&json!({"server": server})), end)
            }
            None => {
                let path = format!("/floating_ips/{id}/actions/unassign");
                self.api.post(&path, None, end)
            }
        };
        let change = match answer {
            Ok(action) => {
                self.action = Some(action.id);
                Change::Running(self.api.running(&action))
            }
            // The next look tells.
            Err(failure) if failure.has_code(FLOATING_IP_ASSIGNED) => {
                Change::Running(failure.problem().clone())
            }
            Err(failure) => failure.of_change(Resolve::MayEnd),
        };
        self.is_in_doubt = matches!(change, Change::Running(_));
        change
    }

    /// A failure of a change, with what is known of the address.
    fn noted(&self, problem: Problem) -> Problem {
        match self.remark() {
            Some(remark) => Problem::new(format_args!("{problem}; {remark}")),
            None => problem,
        }
    }
}

impl Provider for Floating {
    fn change(&mut self, within: Duration, is_elected: &dyn Fn() -> bool) -> Change {
        let end = Instant::now() + within;
        // Another request would be refused while it runs.
        match self.follow(end) {
            Err(failure) => return failure.of_preparation(Resolve::MayEnd),
            Ok(Some(Look::Changing)) => {
                return Change::Unready(Problem::new(CloudProblem::StillRunning));
            }
            Ok(_) => {}
        }
        let change = match self.prepare(end) {
            Err(failure) => failure.of_preparation(Resolve::MayEnd),
            Ok(None) => Change::Found,
            Ok(Some(_)) if !is_elected() => Change::Outdated,
            Ok(Some((id, server))) => self.request(id, server, end),
        };
        match change {
            Change::Refused(problem) => Change::Refused(self.noted(problem)),
            Change::Failing(problem) => Change::Failing(self.noted(problem)),
            other => other,
        }
    }

    fn look(&mut self, within: Duration) -> Look {
        let end = Instant::now() + within;
        self.try_look(end)
            .unwrap_or_else(|failure| failure.of_look(Resolve::MayEnd))
    }

    fn requests(&self) -> u32 {
        self.api.requests()
    }

    fn tempo(&self) -> &'static Tempo {
        &TEMPO
    }

    fn remark(&self) -> Option<Problem> {
        self.is_blocked.then(|| Problem::new(CloudProblem::Blocked))
    }

    fn has_refused_login(&self) -> bool {
        self.api.is_token_refused()
    }
}
