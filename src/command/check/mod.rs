//! `hetzner-check`: everything that can be known before the next failover.

mod clock;
mod cloud;
mod election;
mod host;
mod link;
mod service;

use super::report::{Fact, Level, Place, Sink, Topic};
use crate::history::History;
use crate::order::{self, Action, Order, Service};
use crate::preflight::{self, Findings, Options};
use crate::uwsgi::{self, Hook, Legion};

/// What was learnt of the webservices so far.
#[derive(Default)]
struct Services {
    robot: service::Services,
    cloud: cloud::Projects,
}

/// Reports each fact about each legion and each address, as soon as it is known. Nothing is changed
/// by it.
pub fn check(options: &Options, history: &History, sink: Sink) {
    let mut services = Services::default();
    let mut known = Vec::new();
    let mut has_address = false;
    for legion in uwsgi::legions() {
        let ours = preflight::hooks_of_ours(legion);
        if ours.is_empty() {
            continue;
        }
        election::check(legion, &ours, &mut known, sink);
        for hook in &ours {
            has_address |= is_takeover(hook);
            check_hook(legion, hook, &mut services, history, &mut known, sink);
        }
        check_contradictions(&legion.name(), &ours, &mut known, sink);
    }
    check_rest(options, &known, sink);
    if !has_address {
        let text = "there is no action in this configuration that moves an address, such as \
                    hetzner-failoverip: nothing will be routed; add legion-lord = LEGION \
                    hetzner-failoverip:...";
        sink(Fact {
            place: Place::default(),
            fact: Topic::Configuration,
            level: Level::Error,
            text: text.into(),
        });
    }
}

fn is_takeover(hook: &Hook) -> bool {
    Action::parse(&hook.action).is_some()
}

/// Checks one action. The lines that the boot has for it are added to `known`.
fn check_hook(
    legion: Legion,
    hook: &Hook,
    services: &mut Services,
    history: &History,
    known: &mut Vec<String>,
    sink: Sink,
) {
    let name = legion.name();
    let orders = order::of_action(&hook.action, &hook.argument);
    // What is wrong with the action belongs to the one address that it has, if it has one.
    let ip = match (&orders[..], Action::parse(&hook.action)) {
        ([order], _) => Some(order.ip),
        ([], Some(action)) => order::needs(action, &hook.argument).ip,
        _ => None,
    };
    let place = Place {
        legion: Some(name.clone()),
        hook: Some(hook.event),
        action: Some(hook.action.clone()),
        ip,
    };
    let mut add = |place: &Place, fact, level, text| {
        sink(Fact {
            place: place.clone(),
            fact,
            level,
            text,
        });
    };
    let mut findings = Findings::default();
    findings.check_hook(&name, hook);
    let beginning = format!(
        "legion \"{name}\", legion-{}: {}: ",
        hook.event, hook.action
    );
    for (level, line) in levelled(&findings) {
        let text = line.strip_prefix(&beginning).unwrap_or(line);
        add(&place, Topic::Configuration, level, text.into());
        known.push(line.clone());
    }
    if findings.mistakes.is_empty() && findings.warnings.is_empty() {
        let text = "no mistake in its keys and files";
        add(&place, Topic::Configuration, Level::Ok, text.into());
    }
    for order in &orders {
        let place = Place {
            ip: Some(order.ip),
            ..place.clone()
        };
        // A password or a certificate that cannot be read would fail again.
        let may_ask = findings.mistakes.is_empty();
        for (fact, level, text) in check_order(order, may_ask, services, history) {
            add(&place, fact, level, text);
        }
    }
}

/// Addresses that two lord hooks of a legion route. The lines that the boot has for them are added to `known`.
fn check_contradictions(legion: &str, ours: &[Hook], known: &mut Vec<String>, sink: Sink) {
    for (ip, text) in preflight::contradictions(ours) {
        let place = Place {
            hook: Some("lord"),
            ip: Some(ip),
            ..Place::legion(legion)
        };
        known.push(format!("legion \"{legion}\", legion-lord: {text}"));
        sink(Fact {
            place,
            fact: Topic::Configuration,
            level: Level::Error,
            text,
        });
    }
}

/// The facts about one address.
fn check_order(
    order: &Order,
    may_ask: bool,
    services: &mut Services,
    history: &History,
) -> Vec<(Topic, Level, String)> {
    let (findings, active_ip, netmask, link) = match &order.service {
        Service::Robot(robot) => {
            let told = may_ask.then(|| services.robot.check(order, robot, history));
            let active_ip = Some(robot.active_ip);
            match told {
                Some(told) => (told.findings, active_ip, told.netmask, told.link),
                None => (Vec::new(), active_ip, None, None),
            }
        }
        Service::Cloud(cloud) => {
            let told = may_ask.then(|| services.cloud.check(order, cloud, history));
            match told {
                Some(told) => (told.findings, None, None, told.link),
                None => (Vec::new(), None, None, None),
            }
        }
    };
    let ours = host::check(order, active_ip, netmask, link.and_then(|link| link.to));
    findings.into_iter().chain(ours).collect()
}

/// What the boot finds beside that: options, and whatever is not about one legion or action.
fn check_rest(options: &Options, known: &[String], sink: Sink) {
    let findings = preflight::check(options);
    for (level, line) in levelled(&findings) {
        if known.contains(line) {
            continue;
        }
        let (place, text) = place_of(line);
        sink(Fact {
            place,
            fact: Topic::Configuration,
            level,
            text,
        });
    }
}

/// The legion that a line begins with, if it does, and the rest of it.
fn place_of(line: &str) -> (Place, String) {
    for legion in uwsgi::legions() {
        let name = legion.name();
        let beginning = format!("legion \"{name}\"");
        if let Some(rest) = line.strip_prefix(&beginning) {
            let text = rest.trim_start_matches([':', ',', ' ']);
            return (Place::legion(&name), text.into());
        }
    }
    (Place::default(), line.into())
}

fn levelled(findings: &Findings) -> impl Iterator<Item = (Level, &String)> {
    let mistakes = findings.mistakes.iter().map(|line| (Level::Error, line));
    let warnings = findings.warnings.iter().map(|line| (Level::Warning, line));
    mistakes.chain(warnings)
}
