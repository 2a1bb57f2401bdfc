//! What the tests and the demo stand on.

pub mod health;
mod http;
mod port;
pub mod proxy;
pub mod robot;
pub mod tcp_relay;
pub mod uwsgi;
