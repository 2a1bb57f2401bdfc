//! What the tests stand on: how to start nodes, clusters and attacks, and what is built for them.

pub mod attacks;
pub mod cluster;
pub mod context;
pub mod driver;
pub mod memcheck;
pub mod pty;
