//! The account: what a request means.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use super::errors;
use super::event::Event;
use super::limits::{Logins, Rate};
use super::resource::{Failovers, Switching, is_server_list};
use super::settings::Settings;
use crate::http::{Answer, Request};
use crate::mock::{Method, Outcome, Service};

/// The documented limit of `GET /server`.
const SERVER_LISTS_PER_HOUR: u32 = 200;

/// An account of the webservice.
pub struct Account {
    pub(super) failovers: Failovers,
    pub(super) logins: Logins,
    server_lists: Rate,
    gets: Rate,
    posts: Rate,
    deletes: Rate,
    events: Vec<Event>,
}

impl Account {
    pub(super) fn new(settings: &Settings) -> io::Result<Account> {
        Ok(Account {
            failovers: Failovers::new(settings)?,
            logins: Logins {
                username: settings.username.clone(),
                password: settings.password.clone(),
                lockout: settings.lockout,
                peers: HashMap::new(),
            },
            server_lists: Rate::new(Some(SERVER_LISTS_PER_HOUR)),
            gets: Rate::new(settings.gets_per_hour),
            posts: Rate::new(settings.posts_per_hour),
            deletes: Rate::new(settings.posts_per_hour),
            events: Vec::new(),
        })
    }

    /// Routes a failover IP at once. False if there is no such IP.
    pub(super) fn set_route(&mut self, ip: IpAddr, server: Option<IpAddr>) -> bool {
        self.events.push(Event::Routed { ip, to: server });
        self.failovers.set_route(ip, server)
    }
}

impl Service for Account {
    type Kind = Method;
    type Quirk = Infallible;
    type Change = Switching;
    type Event = Event;

    const NAME: &'static str = "robot";
    const OBJECT: &'static str = "{\"failover\":{";
    const ANSWERS_WHEN_DONE: bool = true;

    /// The login, then the request limit.
    fn admit(&mut self, peer: IpAddr, request: &Request, now: Instant) -> Result<(), Answer> {
        self.logins.admit(peer, &request.headers, now)?;
        match request.method.as_str() {
            "GET" if is_server_list(&request.path) => self.server_lists.admit(now),
            "GET" => self.gets.admit(now),
            "POST" => self.posts.admit(now),
            "DELETE" => self.deletes.admit(now),
            _ => Ok(()),
        }
    }

    fn serve(
        &mut self,
        request: &Request,
        _quirk: Option<&Infallible>,
        now: Instant,
    ) -> Outcome<Switching> {
        let outcome = self.failovers.serve(request, now);
        if let Outcome::Began(switching) = &outcome {
            let takes = self.failovers.switch_time;
            if !takes.is_zero() {
                let ip = switching.ip;
                self.events.push(Event::Switching { ip, takes });
            }
        }
        outcome
    }

    fn answer(&self, switching: &Switching, now: Instant) -> Answer {
        let answer = self.failovers.answer(switching.ip, now);
        answer.unwrap_or_else(|error| error)
    }

    fn is_running(&self, switching: &Switching) -> bool {
        self.failovers.is_switching(switching.number)
    }

    fn settle(&mut self, now: Instant) {
        for (ip, to) in self.failovers.settle(now) {
            self.events.push(Event::Routed { ip, to });
        }
    }

    fn next_settling(&self) -> Option<Instant> {
        self.failovers.next_settling()
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn bad_request(status: u16) -> Answer {
        errors::error(status, "BAD_REQUEST", "Bad request")
    }
}
