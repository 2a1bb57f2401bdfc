//! What can go wrong with the Robot webservice, as a sentence a person can act on.

use std::net::IpAddr;

use thiserror::Error;

use crate::provider::problem::{ApiError, Redirect};

/// A problem with the webservice. What a server sent has been made printable, and stripped of
/// secrets, before it gets in here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RobotProblem {
    #[error(
        "the webservice refused the login (401): check username and password (those of the \
         webservice, not of the Robot website); Hetzner blocks this address for 10 minutes after 3 \
         failed logins, so this is not tried again{}",
        place(.sent_from)
    )]
    Login { sent_from: Option<IpAddr> },
    #[error("the webservice answered {status}{error}{}{}", place(.sent_from), hint(.status, .error))]
    Status {
        status: u16,
        error: Box<ApiError>,
        sent_from: Option<IpAddr>,
    },
    #[error(
        "the webservice's rate limit is reached ({status}{error}{}): no more requests are accepted until then",
        limit(.max_requests, .interval)
    )]
    RateLimit {
        status: u16,
        error: Box<ApiError>,
        max_requests: Option<String>,
        interval: Option<String>,
    },
    #[error(
        "the webservice answered 403 without a reason{}: this address is most likely blocked \
         for some minutes, after failed logins or too many requests",
        place(.sent_from)
    )]
    Blocked { sent_from: Option<IpAddr> },
    #[error("the webservice answered {status}, {redirect}: check url")]
    Redirect { status: u16, redirect: Redirect },
    #[error(
        "the webservice answered {status}, but for {named} instead of this failover IP: check url"
    )]
    OtherIp { status: u16, named: IpAddr },
    #[error(
        "{ip} belongs to the failover subnet {network} (netmask {netmask}), which is switched as a \
         whole: write ip={network}"
    )]
    WithinSubnet {
        ip: IpAddr,
        network: IpAddr,
        netmask: IpAddr,
    },
    #[error("the webservice answered {0} while the switch was still running")]
    Unfinished(u16),
    #[error("the webservice answered {0} but did not route it to this server")]
    NotRoutedHere(u16),
    #[error("the webservice answered {0} without saying where the failover IP is routed")]
    Unreadable(u16),
}

impl RobotProblem {
    /// Whether the answer is about another address than the one that was asked for.
    pub fn is_about_ip(&self) -> bool {
        matches!(
            self,
            RobotProblem::OtherIp { .. } | RobotProblem::WithinSubnet { .. }
        )
    }
}

fn hint(status: &u16, error: &ApiError) -> &'static str {
    match (status, error.code.as_deref()) {
        (_, Some("NOT_FOUND" | "FAILOVER_NOT_FOUND")) => {
            ": this failover IP is not in this account; check ip, and that username belongs to this account"
        }
        (_, Some("FAILOVER_NEW_SERVER_NOT_FOUND" | "SERVER_NOT_FOUND")) => {
            ": active_ip is not a server of this account; check active_ip"
        }
        (_, Some("INVALID_INPUT")) => ": check ip and active_ip",
        (403, _) => {
            ": this account or this address is not allowed to do that; check the webservice's settings, \
             which must list the IPv4 and the IPv6 address of each server, or set connect=ipv4"
        }
        (404 | 405, None) => ": check url",
        _ => "",
    }
}

fn place(address: &Option<IpAddr>) -> String {
    address.map_or(String::new(), |address| format!(" (sent from {address})"))
}

fn limit(max_requests: &Option<String>, interval: &Option<String>) -> String {
    match (max_requests, interval) {
        (Some(max), Some(interval)) => format!(": {max} requests in {interval} s"),
        (Some(max), None) => format!(": {max} requests"),
        (None, Some(interval)) => format!(": within {interval} s"),
        (None, None) => String::new(),
    }
}
