//! The project: what a request means.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::actions::Actions;
use super::errors::{self, Refusal, pretty};
use super::event::Event;
use super::fault::Quirk;
use super::inventory::{Effect, Inventory};
use super::objects::View;
use super::page::page;
use super::rate::Rate;
use super::requests::{Requests, Route};
use super::settings::{Access, Settings};
use crate::http::{Answer, Request, bearer, header_line};
use crate::mock::{Outcome, Service};

/// A project of the Cloud.
pub struct Project {
    pub(super) token: String,
    pub(super) access: Access,
    pub(super) inventory: Inventory,
    pub(super) actions: Actions,
    pub(super) rate: Rate,
    pub(super) unreleased: Refusal,
    events: Vec<Event>,
    /// Requests so far, for their correlation ids.
    requests: u64,
}

/// An action that has begun.
#[derive(Clone)]
pub struct Began {
    action: u64,
    answer: Answer,
}

impl Project {
    pub(super) fn new(settings: &Settings) -> Project {
        Project {
            token: settings.token.clone(),
            access: settings.access,
            inventory: Inventory::new(settings),
            actions: Actions::new(settings),
            rate: Rate::new(settings.rate_limit, Instant::now()),
            unreleased: settings.unreleased,
            events: Vec::new(),
            requests: 0,
        }
    }

    /// Makes a change at once.
    pub(super) fn apply(&mut self, effect: Effect, now: Instant) {
        self.make(effect, Duration::ZERO, now);
    }

    fn make(&mut self, effect: Effect, lag: Duration, now: Instant) {
        for (ip, to) in self.inventory.apply(effect, lag, now) {
            self.events.push(Event::Moved { ip, to });
        }
    }

    /// Ends the actions that are due, all if `until` is `None`.
    pub(super) fn end_actions(&mut self, until: Option<Instant>, now: Instant) {
        for (action, due) in self.actions.settle(until) {
            if let Some(due) = due {
                self.make(due.effect, due.lag, now);
            }
            self.events.push(Event::Action(action));
        }
    }

    /// A `*` at the end of the token stands for anything.
    fn is_token(&self, token: &str) -> bool {
        match self.token.strip_suffix('*') {
            Some(beginning) => token.starts_with(beginning),
            None => token == self.token,
        }
    }

    /// Whether the request has the token; otherwise the refusal.
    fn check_token(&self, request: &Request) -> Result<(), Answer> {
        match bearer(&request.headers) {
            Some(token) if self.is_token(token) => Ok(()),
            Some(_) => Err(Refusal::Unauthorized.answer()),
            None => Err(errors::unauthorized("token is required")),
        }
    }

    fn read(&self, route: Route, path: &str, view: View) -> Result<Answer, Answer> {
        let inventory = &self.inventory;
        match route {
            Route::FloatingIps => page("floating_ips", inventory.floating_ip_objects(view), path),
            Route::Servers => page("servers", inventory.server_objects(view), path),
            Route::Networks => page("networks", inventory.network_objects(), path),
            Route::FloatingIp(id) => one("floating_ip", inventory.floating_ip_objects(view), id),
            Route::Server(id) => one("server", inventory.server_objects(view), id),
            Route::Network(id) => one("network", inventory.network_objects(), id),
            Route::Action(id) => {
                let action = self.actions.find(id).ok_or_else(|| not_found("action"))?;
                Ok(pretty(200, &self.actions.object(action)))
            }
            Route::Assign(_) | Route::Unassign(_) | Route::ChangeAliasIps(_) => {
                Err(Refusal::MethodNotAllowed.answer())
            }
        }
    }
}

impl Service for Project {
    type Kind = Requests;
    type Quirk = Quirk;
    type Change = Began;
    type Event = Event;

    const NAME: &'static str = "cloud";
    const OBJECT: &'static str = "{\"floating_ip\":{";
    const ANSWERS_WHEN_DONE: bool = false;

    /// The path, the token, the limit, then the token's access.
    fn admit(&mut self, _peer: IpAddr, request: &Request, now: Instant) -> Result<(), Answer> {
        let route = Route::of(&request.path).ok_or_else(errors::route_not_found)?;
        self.check_token(request)?;
        self.rate.admit(now)?;
        match self.access {
            Access::Read if route.is_change() => Err(Refusal::TokenReadonly.answer()),
            Access::Read | Access::ReadWrite => Ok(()),
        }
    }

    /// A correlation id, and the limit of the project if the token names one.
    fn headers(&mut self, request: &Request, _now: Instant) -> Vec<(String, String)> {
        self.requests += 1;
        let id = format!("{:016x}", 0xc10d_0000_0000_0000 + self.requests);
        let mut headers = vec![header_line("X-Correlation-Id", &id)];
        if Route::of(&request.path).is_some() && self.check_token(request).is_ok() {
            headers.extend(self.rate.headers());
        }
        headers
    }

    fn serve(&mut self, request: &Request, quirk: Option<&Quirk>, now: Instant) -> Outcome<Began> {
        let bad = match quirk {
            Some(Quirk::BadRead(server)) => Some(*server),
            _ => None,
        };
        let Some(route) = Route::of(&request.path) else {
            return Outcome::Answer(errors::route_not_found());
        };
        let planned = match request.method.as_str() {
            "GET" => {
                let answer = self.read(route, &request.path, View { at: now, bad });
                return Outcome::Answer(answer.unwrap_or_else(|error| error));
            }
            "POST" => self.plan(route, &request.body, now),
            _ => Err(Refusal::MethodNotAllowed.answer()),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => return Outcome::Answer(refusal),
        };
        let id = self.actions.begin(plan, quirk, now);
        let Some(action) = self.actions.find(id) else {
            return Outcome::Answer(Refusal::ServerError.answer()); // It has just begun.
        };
        self.events.push(Event::Action(action.clone()));
        Outcome::Began(Began {
            action: id,
            answer: pretty(201, &self.actions.object(action)),
        })
    }

    /// An action is shown running at first, however short it is.
    fn answer(&self, began: &Began, _now: Instant) -> Answer {
        began.answer.clone()
    }

    fn is_running(&self, began: &Began) -> bool {
        self.actions.is_running(began.action)
    }

    fn settle(&mut self, now: Instant) {
        self.end_actions(Some(now), now);
    }

    fn next_settling(&self) -> Option<Instant> {
        self.actions.next_settling()
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn bad_request(status: u16) -> Answer {
        errors::error(status, "json_error", "cannot decode request", None)
    }
}

/// The object with this id.
fn one(key: &str, objects: Vec<Value>, id: u64) -> Result<Answer, Answer> {
    let mut objects = objects.into_iter();
    let object = objects.find(|object| object["id"] == id);
    let object = object.ok_or_else(|| not_found(key))?;
    Ok(pretty(200, &json!({key: object})))
}

pub(super) fn not_found(what: &str) -> Answer {
    Refusal::NotFound.saying(&format!("{what} not found"))
}
