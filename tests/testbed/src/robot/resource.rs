//! The failover resource: routes, switches and locks of failover IPs.
//!
//! It has no clock and no I/O: callers pass the time.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::errors;
use super::network::{self, Network};
use super::servers::Servers;
use super::settings::Settings;
use crate::http::{Answer, Request, form_field};
use crate::mock;

/// An account's failover IPs and servers.
pub(super) struct Failovers {
    failovers: Vec<Failover>,
    servers: Servers,
    pub(super) switch_time: Duration,
    pub(super) shows_status: bool,
    /// The number of the last switch begun.
    last_switch: u64,
}

/// One failover IP, or one failover subnet.
struct Failover {
    network: Network,
    active: Option<IpAddr>,
    switch: Option<Switch>,
    lock: Option<Lock>,
}

struct Switch {
    number: u64,
    to: Option<IpAddr>,
    until: Instant,
}

struct Lock {
    until: Instant,
    processing: bool,
}

/// A switch that has begun.
#[derive(Debug, Clone)]
pub struct Switching {
    pub(super) ip: IpAddr,
    pub(super) number: u64,
}

type Outcome = mock::Outcome<Switching>;

/// A failover IP, and its active server IP.
pub(super) type Route = (IpAddr, Option<IpAddr>);

impl Failovers {
    /// An error if a subnet has no such failover IP, or no such prefix length.
    pub(super) fn new(settings: &Settings) -> io::Result<Failovers> {
        let prefix = |ip| {
            let mut subnets = settings.subnets.iter();
            subnets.find_map(|&(subnet, prefix)| (subnet == ip).then_some(prefix))
        };
        for (subnet, prefix) in &settings.subnets {
            if !settings.failovers.iter().any(|(ip, _)| ip == subnet) {
                let reason = format!("{subnet}/{prefix}: {subnet} is not among the failovers");
                return Err(network::invalid(reason));
            }
        }
        let failovers = settings.failovers.iter().map(|&(ip, active)| {
            Ok(Failover {
                network: Network::new(ip, prefix(ip))?,
                active,
                switch: None,
                lock: None,
            })
        });
        Ok(Failovers {
            failovers: failovers.collect::<io::Result<_>>()?,
            servers: Servers::new(&settings.servers, &settings.ipv6_nets),
            switch_time: settings.switch_time,
            shows_status: settings.shows_status,
            last_switch: 0,
        })
    }

    pub(super) fn serve(&mut self, request: &Request, now: Instant) -> Outcome {
        match self.try_serve(request, now) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Answer(refusal),
        }
    }

    fn try_serve(&mut self, request: &Request, now: Instant) -> Result<Outcome, Answer> {
        let path = without_query(&request.path);
        if is_server_list(path) && request.method == "GET" {
            return self.servers.list().map(Outcome::Answer);
        }
        let ip = match path.strip_prefix("/failover") {
            Some("" | "/") if request.method == "GET" => {
                if self.failovers.is_empty() {
                    return Err(errors::not_found());
                }
                let all: Vec<Value> = self.failovers.iter().map(|f| self.object(f, now)).collect();
                return Ok(Outcome::Answer(Answer::json(200, &json!(all))));
            }
            Some(rest) => rest
                .strip_prefix('/')
                .and_then(|text| percent_decode_str(text).decode_utf8().ok()?.parse().ok())
                .ok_or_else(errors::not_found)?,
            None => return Err(errors::not_found()),
        };
        let ip = self.find(ip).ok_or_else(errors::not_found)?.network.ip;
        match request.method.as_str() {
            "GET" => self.answer(ip, now).map(Outcome::Answer),
            "POST" => {
                let server = self.destination(ip, request)?;
                self.switch(ip, Some(server), now)
            }
            "DELETE" => self.switch(ip, None, now),
            _ => Err(errors::not_found()),
        }
    }

    fn destination(&self, ip: IpAddr, request: &Request) -> Result<IpAddr, Answer> {
        let field = "active_server_ip";
        let text = form_field(&request.headers, &request.body, field)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| errors::invalid_input(&[field], &[]))?;
        let server: IpAddr = text
            .parse()
            .map_err(|_| errors::invalid_input(&[], &[field]))?;
        match self.servers.have(server) && server.is_ipv4() == ip.is_ipv4() {
            true => Ok(server),
            false => Err(errors::new_server_not_found()),
        }
    }

    fn switch(&mut self, ip: IpAddr, to: Option<IpAddr>, now: Instant) -> Result<Outcome, Answer> {
        let number = self.last_switch + 1;
        let until = now + self.switch_time;
        let failover = self.find_mut(ip).ok_or_else(errors::not_found)?;
        if failover.is_locked(now) {
            return Err(errors::locked());
        }
        if to.is_some() && failover.active == to {
            return Err(errors::already_routed());
        }
        failover.switch = Some(Switch { number, to, until });
        self.last_switch = number;
        Ok(Outcome::Began(Switching { ip, number }))
    }

    /// Ends the switches that are due; returns the routes that changed.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Route> {
        let mut changed = Vec::new();
        for failover in &mut self.failovers {
            if let Some(switch) = failover.switch.take_if(|switch| switch.until <= now) {
                failover.active = switch.to;
                changed.push((failover.network.ip, switch.to));
            }
        }
        changed
    }

    /// When the next switch ends.
    pub(super) fn next_settling(&self) -> Option<Instant> {
        self.failovers
            .iter()
            .filter_map(|failover| Some(failover.switch.as_ref()?.until))
            .min()
    }

    pub(super) fn is_switching(&self, number: u64) -> bool {
        self.failovers
            .iter()
            .any(|f| f.switch.as_ref().is_some_and(|s| s.number == number))
    }

    pub(super) fn route(&self, ip: IpAddr) -> Option<IpAddr> {
        self.find(ip)?.active
    }

    /// Routes the IP at once, and ends a running switch. False if there is no such IP.
    pub(super) fn set_route(&mut self, ip: IpAddr, server: Option<IpAddr>) -> bool {
        let Some(failover) = self.find_mut(ip) else {
            return false;
        };
        failover.active = server;
        failover.switch = None;
        true
    }

    /// Locks the IP, as if another client was switching it. False if there is no such IP.
    pub(super) fn lock(&mut self, ip: IpAddr, until: Instant, processing: bool) -> bool {
        let Some(failover) = self.find_mut(ip) else {
            return false;
        };
        failover.lock = Some(Lock { until, processing });
        true
    }

    /// The failover IP as a GET shows it.
    pub(super) fn answer(&self, ip: IpAddr, now: Instant) -> Result<Answer, Answer> {
        let failover = self.find(ip).ok_or_else(errors::not_found)?;
        Ok(Answer::json(200, &self.object(failover, now)))
    }

    fn object(&self, failover: &Failover, now: Instant) -> Value {
        let mut fields = json!({
            "ip": failover.network.ip,
            "netmask": failover.network.netmask(),
            "server_ip": "78.46.1.93",
            "server_ipv6_net": "2a01:4f8:d0a:2003::",
            "server_number": 321,
            "active_server_ip": failover.active,
        });
        if self.shows_status {
            fields["status"] = json!(failover.status(now));
        }
        json!({"failover": fields})
    }

    fn find(&self, ip: IpAddr) -> Option<&Failover> {
        let mut failovers = self.failovers.iter();
        failovers.find(|failover| failover.network.is_named_by(ip))
    }

    fn find_mut(&mut self, ip: IpAddr) -> Option<&mut Failover> {
        let mut failovers = self.failovers.iter_mut();
        failovers.find(|failover| failover.network.is_named_by(ip))
    }
}

/// Whether this is the path of the list of servers.
pub(super) fn is_server_list(path: &str) -> bool {
    matches!(without_query(path), "/server" | "/server/")
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

impl Failover {
    fn foreign_lock(&self, now: Instant) -> Option<&Lock> {
        self.lock.as_ref().filter(|lock| now < lock.until)
    }

    fn is_locked(&self, now: Instant) -> bool {
        self.switch.is_some() || self.foreign_lock(now).is_some()
    }

    fn status(&self, now: Instant) -> &'static str {
        let processing =
            self.switch.is_some() || self.foreign_lock(now).is_some_and(|lock| lock.processing);
        if processing { "processing" } else { "ready" }
    }
}
