//! map
#![deny(unsafe_code)]
mod config;
mod keyval;
mod robot;
mod secret;
mod takeover;
mod text;
