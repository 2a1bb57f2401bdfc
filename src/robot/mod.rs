//! The Robot webservice: `POST` and `GET` on a failover IP, and what their answers mean.
//!
//! Source of the codes and texts: the webservice's documentation, "Failover" and "Errors".

pub mod answer;
mod client;
mod problem;
mod proxy;
mod request;
mod request_error;
mod resolver;
mod sent;
mod tcp;
mod trust;

use crate::takeover::Limits;

pub use client::{Client, SetupError};
pub use proxy::for_url as proxy_for;
pub use trust::check_store;

/// Hetzner allows 50 `POST` and 100 `GET` requests an hour.
pub const LIMITS: Limits = Limits {
    changes: 48,
    looks: 90,
    quick_looks: 60,
};
