//! What can go wrong with the Cloud API, as a sentence a person can act on.

use std::net::{IpAddr, Ipv4Addr};

use thiserror::Error;

use crate::provider::problem::{ApiError, Redirect};

/// A problem with the API, or with what it says. What a server sent has been made printable, and
/// stripped of the token, before it gets in here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloudProblem {
    #[error("the Cloud API refused the token (401{error}{}): check token or token_file", id(.correlation))]
    Token {
        error: Box<ApiError>,
        correlation: Option<String>,
    },
    #[error(
        "the Cloud API answered 401{error}{}: this token may only read; create one with the \
         permission read & write in the same project",
        id(.correlation)
    )]
    ReadOnly {
        error: Box<ApiError>,
        correlation: Option<String>,
    },
    #[error("the Cloud API answered {status}{error}{}{}", id(.correlation), hint(.status, .error))]
    Status {
        status: u16,
        error: Box<ApiError>,
        correlation: Option<String>,
    },
    #[error("the Cloud API answered {status}{}, {redirect}: check endpoint", id(.correlation))]
    Redirect {
        status: u16,
        redirect: Redirect,
        correlation: Option<String>,
    },
    #[error("the Cloud API answered {status} with something that cannot be read{}", id(.correlation))]
    Unreadable {
        status: u16,
        correlation: Option<String>,
    },
    #[error("the Cloud API's list does not end")]
    EndlessList,
    #[error("there was no time left to ask the Cloud API")]
    OutOfTime,
    #[error("the endpoint cannot be used in a request: check endpoint")]
    Endpoint,
    #[error("action {id}{} is running", named(.command))]
    Running { id: u64, command: Option<String> },
    #[error("action {id}{} has failed:{error}", named(.command))]
    Failed {
        id: u64,
        command: Option<String>,
        error: Box<ApiError>,
    },
    #[error(
        "there is no Floating IP {0} in the token's project: check ip, and that the token is one of \
         the project that the address belongs to"
    )]
    NoFloatingIp(IpAddr),
    #[error(
        "there is no server {0} in the token's project: server must be this server's name or id as \
         the Cloud Console shows it, and the token one of the same project"
    )]
    NoServer(String),
    #[error(
        "the metadata service does not know this host ({0}), so it does not seem to be a Cloud \
         server: write server=ID or server=NAME"
    )]
    NotACloudServer(String),
    #[error(
        "the metadata service did not tell which Cloud server this is ({0}): if it never does, write \
         server=ID or server=NAME"
    )]
    NoMetadata(String),
    #[error(
        "there is no Network {0} in the token's project: network must be its name or id as the Cloud \
         Console shows it"
    )]
    NoNetwork(String),
    #[error("server {server} is not attached to Network {network}: attach it, or check network")]
    NotAttached { server: u64, network: u64 },
    #[error(
        "no Network that server {server} is attached to contains {ip}: attach it to the Network of \
         the address, or check ip"
    )]
    OutOfRange { server: u64, ip: Ipv4Addr },
    #[error(
        "several Networks of this server contain {ip} ({networks}), and it is not clear which one is \
         meant: write network=ID or network=NAME"
    )]
    Ambiguous { ip: Ipv4Addr, networks: String },
    #[error(
        "{ip} is the address of {server} itself in Network {network}, not an alias IP: choose a free \
         address for ip"
    )]
    OwnAddress {
        ip: Ipv4Addr,
        server: String,
        network: u64,
    },
    #[error("{ip} was taken off {server}, and the Cloud API still shows it there")]
    ShownLate { ip: Ipv4Addr, server: String },
    #[error("Hetzner has blocked this Floating IP, see the Cloud Console")]
    Blocked,
    #[error("another alias IP of this node is being moved first")]
    OthersTurn,
    #[error("the change that was requested last is still running")]
    StillRunning,
    #[error("too little of the deadline is left to move it, so it stays where it is")]
    TooLate,
}

fn id(correlation: &Option<String>) -> String {
    let id = correlation.as_ref();
    id.map_or_else(String::new, |id| format!(", X-Correlation-Id {id}"))
}

fn named(command: &Option<String>) -> String {
    let command = command.as_ref();
    command.map_or_else(String::new, |command| format!(" {command}"))
}

fn hint(status: &u16, error: &ApiError) -> &'static str {
    match (error.code.as_deref(), status) {
        (Some("not_found" | "method_not_allowed"), _) | (None, 404 | 405) => {
            ": check endpoint, and that the token is one of the project that the address and the \
             server belong to"
        }
        (Some("invalid_input"), _) => ": check ip, server and network",
        (Some("forbidden"), _) => {
            ": the token must not do that, or Hetzner has locked the address or the project; see the \
             Cloud Console"
        }
        (Some("resource_limit_exceeded"), _) => {
            ": a limit of the project is reached; see the Cloud Console"
        }
        (Some("protected"), _) => ": remove the protection in the Cloud Console",
        (Some("deprecated_api_endpoint"), _) => {
            ": Hetzner has removed this part of the API; update this plugin"
        }
        (Some("locked"), _) => ": another action is running on it, such as a backup",
        _ => "",
    }
}
