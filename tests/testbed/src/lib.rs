//! What the tests and the demo stand on.

mod http;
pub mod proxy;
pub mod robot;
pub mod uwsgi;
