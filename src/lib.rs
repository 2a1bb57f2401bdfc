//! A uWSGI plugin that routes Hetzner addresses to the node that became Lord of its legion.
//!
//! The map, from the front door inwards. Each module uses only those below it.
//!
//! | module | its one job |
//! |---|---|
//! | `plugin` | the front door: what uWSGI sees, where panics stop, the one state |
//! | `command` | the second door: what `uwsgi --ini FILE --hetzner-check` and the like do |
//! | `preflight` | everything that can be known before a takeover |
//! | `action` | one hook: its order, its takeover, its log lines |
//! | `probe` | probes an application |
//! | `history` | what this process remembers of its takeovers |
//! | `legion` | what uWSGI leaves undone: heartbeat, standing, lordship, looks |
//! | `metrics` | what is counted, and where each address was last seen |
//! | `provider` | the webservices: requests, and what their answers mean |
//! | `http` | one request within one deadline; it knows no provider |
//! | `order` | an argument becomes validated orders |
//! | `takeover` | the procedure, over its own port; it knows no webservice and no uWSGI |
//! | `isolation` | a worker thread that leaves no secret behind |
//! | `uwsgi` | uWSGI, as C has it and as the rest sees it |
//! | `status` | the status line for systemd |
//! | `secret`, `file`, `text`, `sys` | a password; files; foreign text for a log; the kernel |
//!
//! `unsafe` is allowed where uWSGI, the kernel or memory is touched: in `plugin`, `isolation`,
//! `uwsgi` and `sys`. `isolation::arena` is the global allocator, so that everything that a
//! takeover's thread allocates, in whatever library, is kept out of forked processes and core
//! dumps, and is wiped when it is freed.
#![deny(unsafe_code)]

mod action;
mod command;
mod file;
mod history;
mod http;
#[allow(unsafe_code)] // memory is the kernel's, and a forked process has its own rules
mod isolation;
mod legion;
mod metrics;
mod order;
#[allow(unsafe_code)] // uWSGI calls it
mod plugin;
mod preflight;
mod probe;
#[doc(hidden)] // for fuzz targets and tests
pub mod properties;
mod provider;
mod secret;
mod status;
#[allow(unsafe_code)] // the kernel and the C library
mod sys;
mod takeover;
mod text;
#[allow(unsafe_code)] // uWSGI and OpenSSL are C
mod uwsgi;
