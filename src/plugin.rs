//! The front door: what uWSGI sees of us, and where panics stop.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::mem::zeroed;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crate::lordship::Doubt;
use crate::uwsgi::abi::{PLUGIN_ROOM, uwsgi_legion, uwsgi_plugin};
use crate::uwsgi::{self, Legion, log};
use crate::{action, boot, lordship, openssl, suspension};

/// What log lines that are not a takeover's begin with.
const NAME: &str = "hetzner";

/// What uWSGI's actions return.
const DONE: c_int = 0;
const FAILED: c_int = -1;

/// The legions that have a hook of ours, as found at boot.
static LEGIONS: OnceLock<Vec<Legion>> = OnceLock::new();

/// The room that the mirror leaves, in bytes.
const REST: usize = PLUGIN_ROOM - size_of::<uwsgi_plugin>();

/// `struct uwsgi_plugin`, followed by room for what later versions append.
#[repr(C)]
pub struct Plugin {
    plugin: UnsafeCell<uwsgi_plugin>,
    _room: [u8; REST],
}

// SAFETY: uWSGI's to touch, and it does so on one thread at a time, as with every plugin's.
unsafe impl Sync for Plugin {}

/// The symbol that uWSGI looks for in `hetzner_plugin.so`.
#[unsafe(no_mangle)]
pub static hetzner_plugin: Plugin = Plugin {
    plugin: UnsafeCell::new(uwsgi_plugin {
        name: c"hetzner".as_ptr(),
        on_load: Some(on_load),
        init: Some(init),
        postinit_apps: Some(postinit_apps),
        master_cycle: Some(master_cycle),
        master_cleanup: Some(master_cleanup),
        // SAFETY: null pointers, no functions and zeroes are what C leaves unset members as.
        ..unsafe { zeroed() }
    }),
    _room: [0; REST],
};

/// Called when the plugin is loaded, before the options that follow `plugin = hetzner`.
unsafe extern "C" fn on_load() {
    guard("on_load", || {
        // SAFETY: it is uWSGI that calls this.
        if !unsafe { uwsgi::bind() } {
            log!(
                NAME,
                "ERROR this uWSGI has no Legion subsystem: it was built without OpenSSL"
            );
            uwsgi::exit(1);
        }
        log!(NAME, "uwsgi-hetzner {}", env!("CARGO_PKG_VERSION"));
        openssl::load_legacy();
        uwsgi::register_action(boot::ACTION, c"calling hetzner-failoverip", failoverip);
    });
}

/// Called when all options have been parsed. With `uid` and `gid` alone, privileges have been
/// dropped by then (core/uwsgi.c, `uwsgi_start`); with `drop-after-init` and the like, not yet.
unsafe extern "C" fn init() -> c_int {
    guard("init", || {
        let findings = boot::check();
        for warning in &findings.warnings {
            log!(NAME, "WARNING {warning}");
        }
        exit_for_mistakes(&findings.mistakes);
        if openssl::settle(&uwsgi::legions()) {
            log!(
                NAME,
                "a legion's cipher needs OpenSSL's legacy provider, which was loaded for it; \
                 aes-256-cbc does not"
            );
        }
        LEGIONS.get_or_init(|| findings.legions);
    });
    DONE
}

/// Called before the workers are started, when privileges have been dropped if ever they are:
/// what a takeover will read must be readable now too.
unsafe extern "C" fn postinit_apps() {
    guard("postinit_apps", || {
        exit_for_mistakes(&boot::check().mistakes);
    });
}

fn exit_for_mistakes(mistakes: &[String]) {
    for mistake in mistakes {
        log!(NAME, "ERROR {mistake}");
    }
    if !mistakes.is_empty() {
        uwsgi::exit(1);
    }
}

/// Called whenever the master's loop wakes, once a second at least (`check-interval`), on the
/// main thread.
unsafe extern "C" fn master_cycle() {
    guard("master_cycle", || {
        let legions = LEGIONS.get().map_or(&[][..], Vec::as_slice);
        for legion in suspension::end_well(legions) {
            log!(
                NAME,
                "legion \"{}\": this node will come back when its suspension ends",
                legion.name()
            );
        }
        for (legion, doubt) in lordship::keep_honest(legions) {
            let why = match doubt {
                Doubt::StoodStill => {
                    "this node did not run for a while, and its peers may have replaced it"
                }
                Doubt::Disowned => "its peers do not hear this node, and follow another Lord",
            };
            log!(
                NAME,
                "legion \"{}\": {why}: it has to become Lord again",
                legion.name()
            );
        }
    });
}

/// Called when uWSGI ends or reloads, on the main thread, before it announces its death for the
/// last time (it did so once when it was told to end, in vain if it was suspended).
///
/// And in children that end before they become another program, since it is an `atexit` handler
/// (core/master.c): the legions, which they share with the master, are none of theirs.
unsafe extern "C" fn master_cleanup() {
    guard("master_cleanup", || {
        let legions = LEGIONS.get().into_iter().flatten();
        let ours: Vec<&Legion> = legions.filter(|legion| legion.is_run_here()).collect();
        if ours.is_empty() {
            return;
        }
        uwsgi::stop_announcing();
        for legion in ours {
            legion.end_suspension();
        }
    });
}

/// The legion action `hetzner-failoverip`: blocks until the takeover has ended.
unsafe extern "C" fn failoverip(legion: *mut uwsgi_legion, argument: *mut c_char) -> c_int {
    let done = guard("hetzner-failoverip", || {
        // SAFETY: uWSGI passes one of its legions, and the part of the hook after its colon.
        let (legion, argument) = unsafe {
            (
                Legion::from_raw(legion),
                CStr::from_ptr(argument).to_bytes(),
            )
        };
        legion.is_some_and(|legion| action::failoverip(legion, argument))
    });
    match done {
        Some(true) => DONE,
        Some(false) | None => FAILED,
    }
}

/// Where panics stop: `None` if there was one.
fn guard<T>(place: &str, work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        log!(
            NAME,
            "ERROR {place} ended in a panic, which is a bug in uwsgi-hetzner (see above)"
        );
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stops_at_the_boundary() {
        assert_eq!(guard("test", || panic!("on purpose")), None::<()>);
        assert_eq!(guard("test", || 7), Some(7));
    }
}
