//! The webservices that move addresses: how each is asked, and what its answers mean.

pub mod cloud;
mod problem;
pub mod robot;

use std::net::IpAddr;
use std::sync::Arc;

use crate::http::{RequestError, SetupError};
use crate::order::{Order, Service};
use crate::takeover::{Change, LateChanges, Limits, Look, Problem, Provider};

/// What is to become of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// It leads to this server.
    Here,
    /// It leads to no server.
    Nowhere,
}

/// What the takeovers of a process share with each other.
#[derive(Debug, Default)]
pub struct Shared {
    cloud: cloud::Shared,
}

/// The provider that an order is for. Nothing is sent.
///
/// # Errors
/// A file, a certificate or the proxy that is configured cannot be used.
pub fn client(
    order: &Order,
    goal: Goal,
    shared: &Arc<Shared>,
) -> Result<Box<dyn Provider>, SetupError> {
    match &order.service {
        Service::Robot(service) => {
            let client = robot::Client::new(order, service)?;
            Ok(match goal {
                Goal::Here => Box::new(client),
                Goal::Nowhere => Box::new(robot::Unroute(client)),
            })
        }
        Service::Cloud(service) => {
            let shared = &shared.cloud;
            Ok(match order.alias_ip() {
                Some(ip) => Box::new(cloud::Alias::new(order, ip, service, goal, shared)?),
                None => Box::new(cloud::Floating::new(order, service, goal, shared)?),
            })
        }
    }
}

/// How many requests an hour the order's account may send.
pub fn limits(order: &Order) -> Limits {
    match &order.service {
        Service::Robot(_) => robot::LIMITS,
        Service::Cloud(_) => cloud::LIMITS,
    }
}

/// How long changes of other nodes may still be running.
pub fn late_changes(order: &Order) -> LateChanges {
    match &order.service {
        Service::Robot(_) => robot::LATE_CHANGES,
        Service::Cloud(_) => cloud::LATE_CHANGES,
    }
}

/// Whether two addresses are the same, or of one /64: servers and Floating IPs have a whole IPv6
/// network each.
pub fn is_same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        (one, other) => one == other,
    }
}

/// What a request without a complete response means for a change: after it was sent, a change may have
/// happened, or be running.
fn unanswered_change(error: RequestError) -> Change {
    let problem = Problem::new(&error);
    match error {
        RequestError::Certificate { .. } => Change::Refused(problem),
        RequestError::NotConnected { .. } => Change::NotConnected(problem),
        RequestError::Unanswered { .. } => Change::Running(problem),
    }
}

/// What it means for a look.
fn unanswered_look(error: RequestError) -> Look {
    let problem = Problem::new(&error);
    match error {
        RequestError::Certificate { .. } => Look::Refused(problem),
        RequestError::NotConnected { .. } => Look::NotConnected(problem),
        RequestError::Unanswered { .. } => Look::Unanswered(problem),
    }
}
