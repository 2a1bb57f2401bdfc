//! Alias IPs in private Networks: taken off the server that has the address, then set on this one.
//!
//! A request replaces all alias IPs of a server in a Network, so each list is read right before it is
//! written, and only one alias IP of this process is moved at a time. Between the two steps nobody has
//! the address, so from then on the takeover goes on as long as its deadline allows. After any trouble
//! it begins again at the read, because no step may be repeated blindly.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::answer::{Kind, Trouble};
use super::api::{ActionState, Api, ApiFailure, Resolve};
use super::network::{self, Server};
use super::problem::CloudProblem;
use super::queue::{Queue, Turn};
use super::server::Identity;
use super::{Shared, TEMPO};
use crate::http::SetupError;
use crate::order::{Cloud, Named, Order};
use crate::provider::Goal;
use crate::takeover::{Change, Look, Problem, Provider, Tempo};

/// How long a change waits for others at most. It must not be sent long after it was known that this
/// node is elected.
const TURN: Duration = Duration::from_secs(10);

/// How much of the deadline must be left, so that the address is taken off its old server: what a whole
/// move takes (measured with another tool: 15 to 20 s). Of a short deadline, a quarter.
const MOVE: Duration = Duration::from_secs(20);

/// How long reads may still show the address at the server that it was taken off.
const LAG: Duration = Duration::from_secs(5);

/// An alias IP, and what is known of it.
pub struct Alias {
    pub(super) api: Api,
    identity: Identity,
    goal: Goal,
    ip: Ipv4Addr,
    /// How much time a move must have.
    least: Duration,
    /// The Network that the order names.
    named_network: Option<Named>,
    /// The Network of the address, once it is known.
    network: Option<u64>,
    queue: Arc<Queue>,
    /// Kept while a step may be running, so that nobody reads a list that is about to change.
    turn: Option<Turn>,
    /// The step that was requested last and its action, until its end was seen.
    action: Option<(Step, u64)>,
    /// A step may be running, or reads may not show it yet.
    is_in_doubt: bool,
    release: Release,
    /// Why the last step could not be requested.
    last_problem: Option<Problem>,
    /// The server that it was taken off, and since when.
    released: Option<(u64, Instant)>,
}

/// Whether this takeover took the address off its old server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Release {
    /// No, or it is here by now.
    No,
    /// It was requested.
    Perhaps,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Takes the address off the server that has it.
    Release,
    /// Sets it on this server.
    Set,
}

/// What is to be written: all alias IPs of a server in a Network.
struct Write {
    step: Step,
    server: u64,
    network: u64,
    aliases: Vec<String>,
}

/// What the API says about the address.
pub(super) struct Found {
    pub(super) network: u64,
    us: Server,
    /// The server that has it.
    pub(super) holder: Option<Server>,
}

impl Alias {
    /// Prepares everything for the first request, and sends nothing.
    ///
    /// # Errors
    /// A file, a certificate or the proxy that is configured cannot be used.
    pub fn new(
        order: &Order,
        ip: Ipv4Addr,
        cloud: &Cloud,
        goal: Goal,
        shared: &Shared,
    ) -> Result<Alias, SetupError> {
        Ok(Alias {
            api: Api::new(order, cloud)?,
            identity: Identity::new(cloud.server.as_ref(), &shared.metadata),
            goal,
            ip,
            least: MOVE.min(order.deadline / 4),
            named_network: cloud.network.clone(),
            network: None,
            queue: shared.aliases.clone(),
            turn: None,
            action: None,
            is_in_doubt: false,
            release: Release::No,
            last_problem: None,
            released: None,
        })
    }

    fn resolve(&self) -> Resolve {
        match self.is_half_done() {
            true => Resolve::GoesOn,
            false => Resolve::MayEnd,
        }
    }

    fn try_look(&mut self, end: Instant) -> Result<Look, ApiFailure> {
        if let Some((step, action)) = self.action {
            match self.api.follow(action, end)? {
                ActionState::Running => return Ok(Look::Changing),
                ActionState::Failed(problem) => {
                    self.action = None;
                    self.is_in_doubt = false;
                    if !self.is_half_done() {
                        self.turn = None;
                    }
                    return Ok(Look::Failed(problem));
                }
                ActionState::Succeeded => {
                    self.action = None;
                    if (step, self.goal) == (Step::Release, Goal::Here) {
                        self.note_release();
                        return Ok(Look::HalfDone);
                    }
                }
                ActionState::Unknown => self.action = None,
            }
        }
        let is_done = match self.goal {
            // Reading one server is enough then.
            Goal::Here => self.is_ours(end)?,
            Goal::Nowhere => false,
        };
        let holder = match is_done {
            true => None,
            false => self.find(end)?.holder,
        };
        if is_done || self.is_at_goal(holder.as_ref()) {
            self.turn = None;
            self.release = Release::No;
            return Ok(Look::Ours);
        }
        Ok(Look::Elsewhere {
            to: holder.map(|server| server.title(&self.api)),
            settled: !self.is_in_doubt,
        })
    }

    fn is_at_goal(&self, holder: Option<&Server>) -> bool {
        match (self.goal, holder) {
            (Goal::Here, Some(holder)) => self.identity.is(holder.id),
            (Goal::Nowhere, None) => true,
            (Goal::Here, None) | (Goal::Nowhere, Some(_)) => false,
        }
    }

    /// This server, which must be in the token's project.
    pub(super) fn server(&mut self, end: Instant) -> Result<Server, ApiFailure> {
        self.identity.server(&mut self.api, end)
    }

    /// Whether this server has the address.
    fn is_ours(&mut self, end: Instant) -> Result<bool, ApiFailure> {
        let us = self.server(end)?;
        let network = match (self.network, &self.named_network) {
            (Some(network), _) => network,
            (None, Some(named)) => network::named(&mut self.api, named, end)?,
            // Of several, only all servers together tell which one is meant.
            (None, None) => match &us.private_net[..] {
                [only] if only.has_alias(self.ip) => only.network,
                _ => return Ok(false),
            },
        };
        self.network = Some(network);
        Ok(us.has_alias(network, self.ip))
    }

    /// Reads all servers, and finds the one that has the address.
    pub(super) fn find(&mut self, end: Instant) -> Result<Found, ApiFailure> {
        let ip = self.ip;
        let id = self.identity.id(&mut self.api, end)?;
        let servers = network::servers(&mut self.api, ip, id, end)?;
        let us = servers.iter().find(|server| server.id == id);
        let us = us.ok_or_else(|| network::unknown(id))?;
        let network = match self.network {
            Some(network) => network,
            None => self.choose_network(us, &servers, end)?,
        };
        self.network = Some(network);
        if us.attachment(network).is_none() {
            let server = us.id;
            return Err(refused(CloudProblem::NotAttached { server, network }));
        }
        if let Some(owner) = servers.iter().find(|server| server.owns(network, ip)) {
            let server = owner.title(&self.api);
            return Err(refused(CloudProblem::OwnAddress {
                ip,
                server,
                network,
            }));
        }
        let mut holders = servers.iter();
        let holder = holders.find(|server| server.has_alias(network, ip));
        Ok(Found {
            network,
            us: us.clone(),
            holder: holder.cloned(),
        })
    }

    /// The Network that the order names, or the attached one whose range contains the address.
    fn choose_network(
        &mut self,
        us: &Server,
        servers: &[Server],
        end: Instant,
    ) -> Result<u64, ApiFailure> {
        if let Some(named) = &self.named_network {
            return network::named(&mut self.api, named, end);
        }
        let ip = self.ip;
        let around = network::around(&mut self.api, us, ip, end)?;
        match &around[..] {
            [] => Err(refused(CloudProblem::OutOfRange { server: us.id, ip })),
            [(network, _)] => Ok(*network),
            several => {
                let is_alias = |network: u64| {
                    let mut servers = servers.iter();
                    servers.any(|server| server.has_alias(network, ip))
                };
                let mut used = several.iter().filter(|(network, _)| is_alias(*network));
                match (used.next(), used.next()) {
                    (Some((network, _)), None) => Ok(*network),
                    _ => {
                        let networks: Vec<String> = several
                            .iter()
                            .map(|(id, name)| format!("{name} ({id})"))
                            .collect();
                        let networks = networks.join(", ");
                        Err(refused(CloudProblem::Ambiguous { ip, networks }))
                    }
                }
            }
        }
    }

    /// The step that is due; `None` if the address is where it should be.
    fn prepare(&mut self, end: Instant) -> Result<Option<Write>, ApiFailure> {
        // So that the servers are what is read last.
        self.identity.id(&mut self.api, end)?;
        let (ip, before) = (self.ip, self.api.requests());
        let Found {
            network,
            us,
            holder,
        } = self.find(end)?;
        let has_read_more = self.api.requests() > before + 1;
        if self.is_at_goal(holder.as_ref()) {
            self.release = Release::No;
            return Ok(None);
        }
        self.release = match (self.release, &holder) {
            // Reads may show it there a while longer.
            (Release::Perhaps, Some(_)) if !self.is_recently_released() => Release::No,
            (Release::Perhaps, None) => Release::Yes,
            // Reads may still show it at its old server.
            (known, _) => known,
        };
        let late = holder
            .as_ref()
            .filter(|holder| self.just_released() == Some(holder.id));
        if let Some(server) = late {
            let server = server.title(&self.api);
            let problem = CloudProblem::ShownLate { ip, server };
            return Err(Trouble::new(Kind::Passing, problem).into());
        }
        let (step, server) = match holder {
            Some(holder) => (Step::Release, holder),
            None => (Step::Set, us),
        };
        // The list is read right before it is written.
        let server = match has_read_more {
            true => network::server(&mut self.api, server.id, end)?,
            false => server,
        };
        let Some(attachment) = server.attachment(network) else {
            let server = server.id;
            return Err(refused(CloudProblem::NotAttached { server, network }));
        };
        let others = attachment.aliases_without(ip);
        let mut aliases: Vec<String> = others.into_iter().map(String::from).collect();
        if step == Step::Set {
            aliases.push(ip.to_string());
        }
        Ok(Some(Write {
            step,
            server: server.id,
            network,
            aliases,
        }))
    }

    /// The server that the address has just been taken off. Until reads show that, another such request
    /// would change nothing, and anyone who writes the list that they show brings the address back.
    fn just_released(&self) -> Option<u64> {
        let is_it = self.is_recently_released() && self.release == Release::Yes;
        self.released.filter(|_| is_it).map(|(server, _)| server)
    }

    fn is_recently_released(&self) -> bool {
        self.released.is_some_and(|(_, at)| at.elapsed() < LAG)
    }

    /// Why a step must not be requested now.
    fn objection(&self, write: &Write, end: Instant, is_elected: bool) -> Option<Change> {
        // Once nobody has the address, only going on helps, even if another node is elected.
        let goes_on = write.step == Step::Set && self.is_half_done();
        if !is_elected && !goes_on {
            let is_open = self.is_half_done() && self.is_recently_released();
            return Some(match self.released {
                // Reads may not show yet that nobody has it.
                Some((server, _)) if is_open && server == write.server => {
                    let (ip, server) = (self.ip, format!("server {server}"));
                    Change::Unready(Problem::new(CloudProblem::ShownLate { ip, server }))
                }
                _ => Change::Outdated,
            });
        }
        let left = end.saturating_duration_since(Instant::now());
        let is_begun = self.goal == Goal::Nowhere || write.step == Step::Set || self.is_half_done();
        let problem = match &self.last_problem {
            Some(last) => Problem::new(format_args!("{last}; {}", CloudProblem::TooLate)),
            None => Problem::new(CloudProblem::TooLate),
        };
        (left < self.least && !is_begun).then_some(Change::Limited(problem))
    }

    /// Follows the step that was requested last. Returns whether it is still running.
    fn is_running(&mut self, end: Instant) -> Result<bool, ApiFailure> {
        let Some((step, action)) = self.action else {
            return Ok(false);
        };
        match self.api.follow(action, end)? {
            ActionState::Running => return Ok(true),
            ActionState::Succeeded if (step, self.goal) == (Step::Release, Goal::Here) => {
                self.note_release();
            }
            ActionState::Succeeded | ActionState::Failed(_) | ActionState::Unknown => {}
        }
        self.action = None;
        Ok(false)
    }

    fn note_release(&mut self) {
        self.is_in_doubt = false;
        self.release = Release::Yes;
        self.released = self.released.map(|(server, _)| (server, Instant::now()));
    }

    fn request(&mut self, write: &Write, end: Instant) -> Change {
        let path = format!("/servers/{}/actions/change_alias_ips", write.server);
        let body = json!({"network": write.network, "alias_ips": write.aliases});
        let answer = self.api.post(&path, Some(&body), end);
        let is_open = match &answer {
            Ok(_) => true,
            Err(failure) => failure.is_open(),
        };
        if is_open && self.release == Release::No && write.step == Step::Release {
            self.release = Release::Perhaps;
        }
        if write.step == Step::Release {
            self.released = Some((write.server, Instant::now()));
        }
        let change = match answer {
            Ok(action) => {
                self.action = Some((write.step, action.id));
                Change::Running(self.api.running(&action))
            }
            Err(failure) => failure.of_change(self.resolve()),
        };
        self.is_in_doubt = matches!(change, Change::Running(_));
        if let Change::Failing(problem) | Change::Unready(problem) = &change {
            self.last_problem = Some(problem.clone());
        }
        change
    }
}

fn refused(problem: CloudProblem) -> ApiFailure {
    Trouble::new(Kind::Final, problem).into()
}

impl Provider for Alias {
    fn change(&mut self, within: Duration, is_elected: &dyn Fn() -> bool) -> Change {
        let end = Instant::now() + within;
        match self.is_running(end) {
            Err(failure) => return failure.of_preparation(self.resolve()),
            Ok(true) => return Change::Unready(Problem::new(CloudProblem::StillRunning)),
            Ok(false) => {}
        }
        // A step that has not shown its effect for so long must not keep the others back, unless nobody
        // has the address.
        if self.is_in_doubt && !self.is_half_done() {
            self.turn = None;
        }
        if self.turn.is_none() {
            self.turn = self.queue.enter(end.min(Instant::now() + TURN));
        }
        if self.turn.is_none() {
            return Change::Unready(Problem::new(CloudProblem::OthersTurn));
        }
        let change = match self.prepare(end) {
            Err(failure) => failure.of_preparation(self.resolve()),
            Ok(None) => Change::Found,
            Ok(Some(write)) => match self.objection(&write, end, is_elected()) {
                Some(objection) => objection,
                None => self.request(&write, end),
            },
        };
        // While nobody has the address, the others wait, so that they stay where they are.
        let keeps_turn = matches!(change, Change::Running(_)) || self.is_half_done();
        if !keeps_turn {
            self.turn = None;
        }
        change
    }

    fn look(&mut self, within: Duration) -> Look {
        let end = Instant::now() + within;
        self.try_look(end)
            .unwrap_or_else(|failure| failure.of_look(self.resolve()))
    }

    fn requests(&self) -> u32 {
        self.api.requests()
    }

    fn tempo(&self) -> &'static Tempo {
        &TEMPO
    }

    fn has_refused_login(&self) -> bool {
        self.api.is_token_refused()
    }

    fn steps(&self) -> u32 {
        match (self.goal, self.released) {
            (Goal::Here, Some(_)) => 2,
            (Goal::Here, None) | (Goal::Nowhere, _) => 1,
        }
    }

    fn is_half_done(&self) -> bool {
        self.goal == Goal::Here && self.release != Release::No
    }
}
