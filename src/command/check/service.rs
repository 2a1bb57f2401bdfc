//! Facts about an address that the webservice can tell. Requests are few, and change nothing.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::Duration;

use super::link::{self, Clocks};
use crate::command::report::{Level, Topic};
use crate::history::History;
use crate::http::{Link, SetupError};
use crate::order::{Order, Robot};
use crate::provider::is_same_network;
use crate::provider::robot::{self as webservice, Access, Exchange, FailoverFound, Server};
use crate::sys;
use crate::takeover::Problem;

/// How long one request may take, if timeout is not less.
const REQUEST: Duration = Duration::from_secs(15);
/// With fewer requests left than this, a takeover may run out of them.
const FEW_REQUESTS: u64 = 10;

/// A fact without its place.
type Finding = (Topic, Level, String);

/// What was learnt of the webservices so far, so that none is asked twice.
#[derive(Default)]
pub struct Services {
    /// Webservices that have refused a login. They block this host after a few more.
    refused: Vec<String>,
    /// Accounts whose limit of requests is reached.
    limited: Vec<Account>,
    servers: Vec<(Account, Option<Exchange<Vec<Server>>>)>,
    failovers: Vec<(Account, IpAddr, String, Exchange<FailoverFound>)>,
    clocks: Clocks,
}

/// A webservice and a user of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    authority: String,
    username: Vec<u8>,
}

impl Account {
    fn of(robot: &Robot) -> Account {
        let authority = robot.url.as_uri().authority();
        Account {
            authority: authority.map_or_else(String::new, ToString::to_string),
            username: robot.username.clone(),
        }
    }
}

/// What the webservice has said of one address.
pub struct Told {
    pub findings: Vec<Finding>,
    pub netmask: Option<IpAddr>,
    /// How it was reached.
    pub link: Option<Link>,
}

impl Services {
    /// Asks about the address of an order.
    pub fn check(&mut self, order: &Order, robot: &Robot, history: &History) -> Told {
        let mut told = Told {
            findings: Vec::new(),
            netmask: None,
            link: None,
        };
        let account = Account::of(robot);
        if self.refused.contains(&account.authority) {
            let text = "not tried: this webservice has refused a login before, and blocks addresses \
                        after a few failed logins";
            told.findings
                .push((Topic::Login, Level::Error, text.into()));
            return told;
        }
        if self.limited.contains(&account) {
            let text = "not tried: the webservice has refused more requests of this user";
            told.findings
                .push((Topic::RateLimit, Level::Warning, text.into()));
            return told;
        }
        let exchange = match self.failover(order, robot, &account, history) {
            Ok(exchange) => exchange,
            Err(error) => {
                told.findings
                    .push((Topic::Configuration, Level::Error, error.to_string()));
                return told;
            }
        };
        told.link = Some(exchange.link.clone());
        let access = match exchange.answer {
            Ok(access) => access,
            Err(problem) => {
                let text = format!("{problem}; check the network, the firewall and url");
                told.findings.push((Topic::Service, Level::Error, text));
                return told;
            }
        };
        told.findings.push(link::reached(order, &exchange.link));
        told.findings.extend(login(&access));
        match access {
            Access::LoginRefused(_) => self.refused.push(account.authority),
            Access::Limited(_) => self.limited.push(account),
            _ => {
                told.findings.extend(failover(order, robot, &access));
                told.findings.extend(self.server(order, robot, &account));
            }
        }
        if let Access::Granted(FailoverFound::Here { netmask, .. }) = access {
            told.netmask = netmask;
        }
        told.findings
            .extend(self.clocks.check(order, &exchange.link));
        told.findings
            .extend(link::requests_left(&exchange.link, FEW_REQUESTS));
        told
    }

    fn failover(
        &mut self,
        order: &Order,
        robot: &Robot,
        account: &Account,
        history: &History,
    ) -> Result<Exchange<FailoverFound>, SetupError> {
        let url = robot.url.as_uri().to_string();
        let known = self
            .failovers
            .iter()
            .find(|(known, ip, at, _)| known == account && *ip == order.ip && *at == url);
        if let Some((_, _, _, exchange)) = known {
            return Ok(exchange.clone());
        }
        let budget = history.budget(order);
        budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note_looks(sys::uptime(), 1);
        let exchange = webservice::ask_failover(order, robot, order.timeout.min(REQUEST))?;
        let entry = (account.clone(), order.ip, url, exchange.clone());
        self.failovers.push(entry);
        Ok(exchange)
    }

    /// Whether `active_ip` is a server of the account. Only Hetzner's own webservice is asked.
    fn server(&mut self, order: &Order, robot: &Robot, account: &Account) -> Option<Finding> {
        if robot.url.is_custom() {
            let text = "not checked: only url itself is asked of a custom endpoint";
            return Some((Topic::Server, Level::Ok, text.into()));
        }
        let known = self.servers.iter().find(|(known, _)| known == account);
        let exchange = match known {
            Some((_, exchange)) => exchange.clone(),
            None => {
                let exchange = webservice::ask_servers(order, robot, order.timeout.min(REQUEST))
                    .ok()
                    .flatten();
                self.servers.push((account.clone(), exchange.clone()));
                exchange
            }
        };
        let answer = exchange?.answer;
        if let Ok(Access::LoginRefused(_)) = answer {
            self.refused.push(account.authority.clone());
        }
        Some(server(robot.active_ip, &answer))
    }
}

fn login(access: &Access<FailoverFound>) -> Option<Finding> {
    match access {
        Access::Granted(_) | Access::NotFound(_) => {
            let text = "the webservice accepts username and password";
            Some((Topic::Login, Level::Ok, text.into()))
        }
        Access::LoginRefused(problem) => Some((Topic::Login, Level::Error, problem.to_string())),
        Access::Limited(problem) => Some((Topic::RateLimit, Level::Warning, problem.to_string())),
        // Said about the failover IP.
        Access::Unusable(_) => None,
    }
}

/// Whether the failover IP is in the account, and where it is routed.
fn failover(order: &Order, robot: &Robot, access: &Access<FailoverFound>) -> Vec<Finding> {
    let ip = order.ip;
    let fact = |level, text| vec![(Topic::FailoverIp, level, text)];
    match access {
        Access::Granted(FailoverFound::Here {
            netmask,
            active,
            is_switching,
        }) => {
            let whole = match netmask {
                Some(netmask) if *netmask != IpAddr::from([255; 4]) => {
                    format!("{ip} is a failover subnet of this account (netmask {netmask})")
                }
                Some(_) | None => format!("{ip} is a failover IP of this account"),
            };
            let mut facts = fact(Level::Ok, whole);
            facts.push(route(order, robot, *active, *is_switching));
            facts
        }
        Access::Granted(FailoverFound::Misnamed(problem)) | Access::NotFound(problem) => {
            fact(Level::Error, problem.to_string())
        }
        Access::Unusable(problem) => fact(
            Level::Warning,
            match robot.url.is_custom() {
                true => format!(
                    "{problem}; a takeover cannot be confirmed unless the endpoint of url supports GET"
                ),
                false => format!("{problem}; try again later"),
            },
        ),
        Access::LoginRefused(_) | Access::Limited(_) => Vec::new(),
    }
}

fn route(order: &Order, robot: &Robot, active: Option<IpAddr>, is_switching: bool) -> Finding {
    let ip = order.ip;
    let is_here = active.is_some_and(|active| is_same_network(active, robot.active_ip));
    let (level, text) = match (active, is_switching) {
        (_, true) => (
            Level::Warning,
            format!("{ip} is being switched now; that takes up to two minutes"),
        ),
        (None, false) => (
            Level::Warning,
            format!("{ip} is routed to no server; the next takeover routes it"),
        ),
        (Some(active), false) if is_here => (
            Level::Ok,
            format!("{ip} is routed to {active}, which is active_ip"),
        ),
        // No fault: this server may not be the Lord.
        (Some(active), false) => (
            Level::Ok,
            format!(
                "{ip} is routed to {active} (active_ip is {})",
                robot.active_ip
            ),
        ),
    };
    (Topic::Route, level, text)
}

fn server(active_ip: IpAddr, answer: &Result<Access<Vec<Server>>, Problem>) -> Finding {
    let unknown = |problem: &Problem| {
        let text = format!("the account's servers are not known: {problem}");
        (Topic::Server, Level::Warning, text)
    };
    let none = || {
        let text = format!(
            "active_ip {active_ip} is no main address of a server of this account: write the main IP \
             of this server, or for an IPv6 failover IP its IPv6 network"
        );
        (Topic::Server, Level::Error, text)
    };
    match answer {
        Ok(Access::Granted(servers)) => match servers.iter().find(|server| server.has(active_ip)) {
            Some(server) => {
                let number = server
                    .number
                    .map_or_else(String::new, |number| format!(" {number}"));
                let text = format!("active_ip {active_ip} is server{number} of this account");
                (Topic::Server, Level::Ok, text)
            }
            None => none(),
        },
        Ok(Access::NotFound(_)) => none(),
        Ok(Access::LoginRefused(problem)) => (Topic::Login, Level::Error, problem.to_string()),
        Ok(Access::Limited(problem) | Access::Unusable(problem)) | Err(problem) => unknown(problem),
    }
}
