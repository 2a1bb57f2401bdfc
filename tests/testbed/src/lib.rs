//! Shared by the tests and the demo.
//!
//! `robot` is a mock of Hetzner's Robot webservice, and `cloud` of the Hetzner Cloud API; both stand on
//! `mock`, the connections and faults that mock services share. `uwsgi` starts nodes, with relays
//! between them, `tcp_relay` and `proxy` stand between a node and the webservice, `health` is an
//! application to check, `network` connects real servers, a router and a client in namespaces, and
//! `document` finds the commands in a document.

pub mod cloud;
pub mod document;
pub mod health;
mod http;
pub mod mock;
pub mod network;
mod port;
pub mod proxy;
pub mod robot;
pub mod tcp_relay;
pub mod uwsgi;
