//! What happens if uWSGI ends before the command begins: a mistake in its configuration.
//!
//! uWSGI's exit handlers would delete the sockets and the pidfile of the running instance (with
//! `vacuum`), and run its at-exit hooks and its `fallback-config`. Exit handlers run last in, first
//! out, so one of ours ends the process before them.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::json;
use super::report::{Fact, Level, Place, Topic};
use crate::sys::{self, process};
use crate::uwsgi::{NAME, log};

/// Whether the report is to be JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// The process that the command is for. Others are forked from it while it reads its configuration.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// From here on, an exit of the process is one without uWSGI's exit handlers.
pub fn stand(is_json: bool) {
    static REGISTERED: Once = Once::new();
    IS_JSON.fetch_or(is_json, Ordering::Relaxed);
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    REGISTERED.call_once(|| process::at_exit(end));
}

extern "C" fn end() {
    if PROCESS.load(Ordering::Relaxed) != sys::process_id() {
        process::quit(1);
    }
    let text = "uWSGI has ended while it read its configuration: see its log for the reason";
    log!(NAME, "ERROR {text}");
    if IS_JSON.load(Ordering::Relaxed) {
        let fact = Fact {
            place: Place::default(),
            fact: Topic::Configuration,
            level: Level::Error,
            text: text.into(),
        };
        super::print(&json::report(&[fact]));
    }
    process::quit(1);
}
