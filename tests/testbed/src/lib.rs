//! Shared by the tests and the demo.
//!
//! `robot` is a mock of Hetzner's Robot webservice, `uwsgi` starts nodes, with relays between them,
//! `tcp_relay` and `proxy` stand between a node and the webservice, and `health` is an application
//! to check.

pub mod health;
mod http;
mod port;
pub mod proxy;
pub mod robot;
pub mod tcp_relay;
pub mod uwsgi;
