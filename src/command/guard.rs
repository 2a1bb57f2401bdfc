//! What happens if uWSGI ends before the command begins: a mistake in its configuration.
//!
//! uWSGI's exit handlers would delete the sockets and the pidfile of the running instance (with
//! `vacuum`), and run its at-exit hooks and its `fallback-config`. Exit handlers run last in, first
//! out, so one of ours ends the process before them.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::json;
use super::report::{Fact, Level, Place, Topic};
use crate::sys::{self, process};
use crate::uwsgi::{NAME, log};

/// Whether the report is to be JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// The process that the command is for; 0 without a command. Others are forked from it while it reads its
/// configuration.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// From here on, an exit of the process is one without uWSGI's exit handlers. It may be called again, to
/// come before what was registered meanwhile.
pub fn stand(is_json: bool) {
    IS_JSON.fetch_or(is_json, Ordering::Relaxed);
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    process::at_exit(end);
}

/// The process serves after all.
pub fn stand_down() {
    PROCESS.store(0, Ordering::Relaxed);
}

extern "C" fn end() {
    match PROCESS.load(Ordering::Relaxed) {
        0 => return,
        process if process != sys::process_id() => process::quit(1),
        _ => {}
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
