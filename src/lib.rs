//! map
#![deny(unsafe_code)]
mod config;
mod keyval;
mod secret;
mod text;
