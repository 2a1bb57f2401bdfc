//! What uWSGI's Legion leaves undone: a node that stays in its legion while it takes over, steps
//! back after a failure and still votes, and makes sure that it is Lord and the route is its own.

pub mod health;
pub mod heartbeat;
pub mod lordship;
pub mod member;
#[cfg(test)]
mod model;
#[cfg(test)]
mod outage;
pub mod standing;
pub mod standstill;
pub mod watch;
