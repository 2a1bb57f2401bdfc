//! The Robot webservice: one `switch`, one `route`, and what their answers mean.
//!
//! Source of the codes and texts: the webservice's documentation, "Failover" and "Errors".

mod answer;
mod client;
mod connection;
mod failure;
mod meaning;
mod object;
mod problem;
mod proxy;
mod resolver;
mod trust;

use std::time::Duration;

pub use client::{Client, SetupError};
pub use meaning::{Route, Switch};
pub use problem::Problem;
pub use proxy::for_url as proxy_for;
pub use trust::check_store;

/// The failover IP's resource, as a takeover needs it.
pub trait Robot {
    /// `POST`: asks for the failover IP to be routed to our server, and waits for the answer,
    /// `within` the given time.
    fn switch(&mut self, within: Duration) -> Switch;

    /// `GET`: asks where the failover IP is routed, `within` the given time.
    fn route(&mut self, within: Duration) -> Route;

    /// How many requests went out so far, or may have.
    fn requests(&self) -> u32;
}
