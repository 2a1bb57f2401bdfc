//! The Robot webservice: `POST`, `GET` and `DELETE` on a failover IP, and what their answers mean.
//!
//! Source of the codes and texts: the webservice's documentation, "Failover" and "Errors".

pub mod answer;
mod client;
mod date;
mod problem;
mod proxy;
mod request;
mod request_error;
mod resolver;
mod sent;
mod survey;
mod tcp;
mod trust;
mod unroute;

use crate::takeover::Limits;

pub use answer::is_same_server;
pub use answer::survey::{Access, FailoverFound, Server};
pub use client::{Client, SetupError};
pub use proxy::for_url as proxy_for;
pub use survey::{Exchange, Link, ask_failover, ask_servers};
pub use trust::check_store;
pub use unroute::Unroute;

/// The parts of the client that know no webservice.
pub mod http {
    pub use super::client::connector;
    pub use super::request::CurrentRequest;
    pub use super::request_error::describe;
    pub use super::resolver::PatientResolver;
    pub use super::tcp::connect_to as connect;
    pub use super::trust::tls_config;
}

/// Hetzner allows 50 `POST` and 100 `GET` requests an hour.
pub const LIMITS: Limits = Limits {
    changes: 48,
    looks: 90,
    quick_looks: 60,
};
