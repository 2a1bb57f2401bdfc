//! What the tests and the demo stand on.

pub mod proxy;
pub mod robot;
pub mod uwsgi;
