//! A uWSGI plugin that routes a Hetzner failover IP to the node that became Lord of its legion.
//!
//! There is one way through it. uWSGI calls `plugin`, the front door, where panics stop and
//! pointers become types. At boot it has `boot` check every hook. When this node becomes
//! Lord, `action` has the hook's argument split by `keyval` and made a validated order by `config`;
//! `heartbeat` keeps the node alive in its legion while, on a thread of its own, `takeover`
//! follows the procedure, asking `robot`, the webservice, whose answers it alone interprets.
//! A number goes back. Besides, `suspension` has a node that failed come back, `lordship`
//! has a Lord that was cut off make sure of itself, `openssl`
//! lets old ciphers work, `fork` keeps connections from forked processes, and
//! `confidential` memory, `secret` holds the password, `text` makes foreign text fit for a
//! log, and `uwsgi` is uWSGI, as C has it and as the rest sees it.
//!
//! `unsafe` is confined to `uwsgi`, `plugin`, `openssl`, `fork` and
//! `confidential`.
#![deny(unsafe_code)]

mod action;
mod boot;
#[allow(unsafe_code)] // memory is the kernel's
mod confidential;
mod config;
#[cfg(test)]
#[path = "../fuzz/properties/corpus.rs"]
mod corpus;
#[allow(unsafe_code)] // what happens in a child
mod fork;
mod heartbeat;
mod keyval;
mod lordship;
#[allow(unsafe_code)] // libcrypto is C
mod openssl;
#[allow(unsafe_code)] // uWSGI calls it
mod plugin;
mod robot;
mod secret;
mod suspension;
mod takeover;
mod text;
#[allow(unsafe_code)] // uWSGI is C
mod uwsgi;
