//! The front door: what uWSGI sees of us, and where panics stop.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::mem::zeroed;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::boot;
use crate::config::Order;
use crate::heartbeat::{self, Beat};
use crate::openssl;
use crate::robot::Client;
use crate::suspension;
use crate::takeover::{self, Bounds, Clock, Failure, Outcome, Report, Seconds};
use crate::uwsgi::abi::{PLUGIN_ROOM, uwsgi_legion, uwsgi_plugin};
use crate::uwsgi::{self, Legion, log};

/// The legion action's name.
pub const ACTION: &CStr = c"hetzner-failoverip";
/// What its log lines begin with.
const TAKEOVER: &str = "hetzner-failoverip";
/// What the plugin's other log lines begin with.
const PLUGIN: &str = "hetzner";

/// What uWSGI's actions return.
const DONE: c_int = 0;
const FAILED: c_int = -1;

/// A takeover ends by itself at its deadline; only a bug lets it run on for this long.
const GRACE: Duration = Duration::from_secs(2);

/// The legions that have a hook of ours, as found at boot.
static LEGIONS: OnceLock<Vec<Legion>> = OnceLock::new();

/// `struct uwsgi_plugin`, followed by room for what later versions append.
#[repr(C)]
pub struct Plugin {
    plugin: UnsafeCell<uwsgi_plugin>,
    _room: [u8; PLUGIN_ROOM - size_of::<uwsgi_plugin>()],
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
        master_cycle: Some(master_cycle),
        // SAFETY: null pointers, no functions and zeroes are what C leaves unset members as.
        ..unsafe { zeroed() }
    }),
    _room: [0; _],
};

/// Called when the plugin is loaded, before the options that follow `plugin = hetzner`.
unsafe extern "C" fn on_load() {
    guard("on_load", || {
        // SAFETY: it is uWSGI that calls this.
        if !unsafe { uwsgi::bind() } {
            log!(
                PLUGIN,
                "ERROR this uWSGI has no Legion subsystem: it was built without OpenSSL"
            );
            uwsgi::exit(1);
        }
        log!(PLUGIN, "uwsgi-hetzner {}", env!("CARGO_PKG_VERSION"));
        openssl::load_legacy();
        uwsgi::register_action(ACTION, c"calling hetzner-failoverip", failoverip);
    });
}

/// Called when all options have been parsed, before privileges are dropped.
unsafe extern "C" fn init() -> c_int {
    guard("init", || {
        let findings = boot::check();
        for warning in &findings.warnings {
            log!(PLUGIN, "WARNING {warning}");
        }
        for mistake in &findings.mistakes {
            log!(PLUGIN, "ERROR {mistake}");
        }
        if !findings.mistakes.is_empty() {
            uwsgi::exit(1);
        }
        if openssl::settle(&uwsgi::legions()) {
            log!(
                PLUGIN,
                "a legion's cipher needs OpenSSL's legacy provider, which was loaded for it; \
                 aes-256-cbc does not"
            );
        }
        LEGIONS.get_or_init(|| findings.legions);
    });
    DONE
}

/// Called about once a second, on the main thread of the master.
unsafe extern "C" fn master_cycle() {
    guard("master_cycle", || {
        for legion in suspension::end_well(LEGIONS.get().map_or(&[], Vec::as_slice)) {
            log!(
                PLUGIN,
                "legion \"{}\": this node will come back when its suspension ends",
                legion.name()
            );
        }
    });
}

/// The legion action `hetzner-failoverip`: blocks until the takeover has ended.
unsafe extern "C" fn failoverip(legion: *mut uwsgi_legion, argument: *mut c_char) -> c_int {
    let done = guard(TAKEOVER, || {
        // SAFETY: uWSGI passes one of its legions, and the part of the hook after its colon.
        let (legion, argument) = unsafe {
            (
                Legion::from_raw(legion),
                CStr::from_ptr(argument).to_bytes(),
            )
        };
        legion.is_some_and(|legion| take_over(legion, argument))
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
            PLUGIN,
            "ERROR {place} ended in a panic, which is a bug in uwsgi-hetzner (see above)"
        );
    }
    result.ok()
}

fn take_over(legion: Legion, argument: &[u8]) -> bool {
    let order = match Order::parse(argument) {
        Ok(order) => order,
        Err(mistakes) => {
            for mistake in mistakes {
                log!(TAKEOVER, "ERROR {mistake}");
            }
            return false;
        }
    };
    let (ip, server) = (order.failover_ip, order.active_ip);
    log!(TAKEOVER, "{ip} -> {server}");
    let bounds = Bounds {
        timeout: order.timeout,
        deadline: order.deadline,
    };
    let mut beat = LegionBeat::new(legion, &order);
    let ended = heartbeat::accompany(&mut beat, bounds.deadline + GRACE, move |say| {
        let mut client = Client::new(&order)?;
        Ok(takeover::take_over(
            bounds,
            &mut client,
            &mut SystemClock,
            &mut |line| say.say(line),
        ))
    });
    beat.end();
    let not_routed = |why: &dyn std::fmt::Display| {
        log!(TAKEOVER, "ERROR {ip} is not routed to {server}: {why}");
        false
    };
    match ended {
        Ok(Ok(report)) => match &report.outcome {
            Outcome::Routed => {
                log!(
                    TAKEOVER,
                    "{ip} is routed to {server} ({})",
                    summary(&report)
                );
                true
            }
            Outcome::Unconfirmed(problem) => {
                log!(
                    TAKEOVER,
                    "WARNING {ip} is routed to {server}, unconfirmed: the webservice took the \
                     request, but cannot be asked where the IP is: {problem} ({})",
                    summary(&report)
                );
                true
            }
            Outcome::Failed(failure) => not_routed(&WithSummary(failure, &report)),
        },
        Ok(Err(setup)) => {
            let setup: crate::robot::SetupError = setup;
            not_routed(&setup)
        }
        Err(lost) => not_routed(&lost),
    }
}

struct WithSummary<'a>(&'a Failure, &'a Report);

impl std::fmt::Display for WithSummary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.0, summary(self.1))
    }
}

fn summary(report: &Report) -> String {
    let requests = match report.requests {
        1 => "1 request".into(),
        requests => format!("{requests} requests"),
    };
    format!("after {}, {requests}", Seconds(report.elapsed))
}

/// The real time.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&mut self, span: Duration) {
        std::thread::sleep(span);
    }
}

/// Keeps the node alive in its legion, if this is the legion's thread: `legion-setup` and
/// `legion-death` run on the main thread, where uWSGI announces by itself and the peers'
/// list may change under one's feet.
struct LegionBeat {
    legion: Option<Legion>,
    what: String,
    deadline: Duration,
}

impl LegionBeat {
    fn new(legion: Legion, order: &Order) -> LegionBeat {
        LegionBeat {
            legion: (!uwsgi::on_main_thread()).then_some(legion),
            what: format!("{} -> {}", order.failover_ip, order.active_ip),
            deadline: order.deadline,
        }
    }

    /// We did not listen to the peers, so we cannot hold their silence against them.
    fn end(&self) {
        if let Some(legion) = self.legion {
            legion.refresh_peers();
        }
    }
}

impl Beat for LegionBeat {
    fn interval(&self) -> Option<Duration> {
        self.legion.map(|_| boot::announce_interval())
    }

    fn beat(&mut self) {
        if let Some(legion) = self.legion {
            legion.announce();
        }
    }

    fn say(&mut self, line: &str) {
        log!(TAKEOVER, "{}: {line}", self.what);
    }

    fn report(&mut self, elapsed: Duration) {
        log!(
            TAKEOVER,
            "{}: still at it after {} s (deadline {} s)",
            self.what,
            elapsed.as_secs(),
            self.deadline.as_secs()
        );
    }
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
