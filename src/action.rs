//! The legion action `hetzner-failoverip`: an order, its takeover, and what is said of it.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::boot;
use crate::config::Order;
use crate::heartbeat::{self, Beat, Lost};
use crate::robot::{Client, SetupError};
use crate::takeover::{self, Bounds, Clock, Outcome, Report, Seconds};
use crate::uwsgi::{self, Legion, log};
use crate::{confidential, lordship, suspension};

/// What every log line of a takeover begins with.
const NAME: &str = "hetzner-failoverip";

/// After a takeover as long as this, what peers sent meanwhile is no longer worth hearing.
const LONG_DEAF: Duration = Duration::from_secs(30);

/// A takeover ends by itself at its deadline; only a file that hangs, or a bug, lets it run on for
/// this long.
const GRACE: Duration = Duration::from_secs(2);

/// Routes the failover IP as the argument orders, and blocks until that has succeeded
/// (`true`) or failed. Everything there is to say is logged.
pub fn failoverip(legion: Legion, argument: &[u8]) -> bool {
    match Order::parse(argument) {
        Ok(order) => take_over(legion, order),
        Err(mistakes) => {
            for mistake in mistakes {
                log!(NAME, "ERROR {mistake}");
            }
            false
        }
    }
}

fn take_over(legion: Legion, order: Order) -> bool {
    let what = What::of(&order);
    log!(NAME, "{} -> {}", what.ip, what.server);
    let start = uwsgi::uptime();
    let mut beat = LegionBeat::new(&order);
    let bound = order.deadline + GRACE;
    let ended = heartbeat::accompany(&mut beat, bound, move |say| {
        run(&order, &mut |line| say.say(line))
    });
    beat.end(uwsgi::uptime().saturating_sub(start));
    warn_of_shortfall();
    let succeeded = what.log_end(ended);
    lordship::note_takeover(legion, start);
    if !succeeded {
        suspension::note_failure(legion);
    }
    succeeded
}

/// What is promised of passwords could not be kept: that is to be known, and no more.
fn warn_of_shortfall() {
    if confidential::fell_short() {
        log!(
            NAME,
            "WARNING a worker that was started during this takeover, a core dump, or the swap if \
             memory is locked, may hold the password: it could not be kept from them"
        );
    }
}

/// The takeover itself, on its own thread.
fn run(order: &Order, say: &mut dyn FnMut(String)) -> Result<Report, SetupError> {
    // Files and certificates that are read first count, too.
    let bounds = Bounds {
        start: Instant::now(),
        timeout: order.timeout,
        deadline: order.deadline,
    };
    let mut client = Client::new(order)?;
    Ok(takeover::take_over(
        bounds,
        &mut client,
        &mut SystemClock,
        say,
    ))
}

/// What is to be routed where, for the log.
struct What {
    ip: String,
    server: String,
}

impl What {
    fn of(order: &Order) -> What {
        What {
            ip: order.failover_ip.to_string(),
            server: order.active_ip.to_string(),
        }
    }

    /// The last line of a takeover; whether it succeeded.
    fn log_end(&self, ended: Result<Result<Report, SetupError>, Lost>) -> bool {
        let report = match ended {
            Ok(Ok(report)) => report,
            Ok(Err(setup)) => return self.log_failure(&setup),
            Err(lost) => return self.log_failure(&lost),
        };
        let What { ip, server } = self;
        let summary = summary(&report);
        match report.outcome {
            Outcome::Routed => {
                log!(NAME, "{ip} is routed to {server} ({summary})");
                true
            }
            Outcome::Unconfirmed(problem) => {
                log!(
                    NAME,
                    "WARNING {ip} is routed to {server}, unconfirmed: the webservice took the \
                     request, but cannot be asked where the IP is: {problem} ({summary})"
                );
                true
            }
            Outcome::Failed(failure) => self.log_failure(&format!("{failure} ({summary})")),
        }
    }

    fn log_failure(&self, reason: &dyn Display) -> bool {
        let What { ip, server } = self;
        log!(NAME, "ERROR {ip} is not routed to {server}: {reason}");
        false
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

/// Keeps the node alive in its legions, all of which share one thread, if this is that thread.
/// `legion-setup` and `legion-death` run on the main thread, where uWSGI announces by itself
/// and the peers' lists may change under one's feet.
struct LegionBeat {
    legions: Vec<Legion>,
    interval: Duration,
    what: What,
    deadline: Duration,
}

impl LegionBeat {
    fn new(order: &Order) -> LegionBeat {
        LegionBeat {
            legions: match uwsgi::on_main_thread() {
                true => Vec::new(),
                false => uwsgi::legions(),
            },
            interval: boot::announce_interval(),
            what: What::of(order),
            deadline: order.deadline,
        }
    }

    /// We did not listen to the peers, so we cannot hold their silence against them.
    fn end(&self, elapsed: Duration) {
        for legion in &self.legions {
            // uWSGI refuses what is older than a minute, and blames the sender's clock.
            if elapsed >= LONG_DEAF {
                legion.discard_backlog();
            }
            legion.refresh_peers();
        }
    }
}

impl Beat for LegionBeat {
    fn interval(&self) -> Option<Duration> {
        (!self.legions.is_empty()).then_some(self.interval)
    }

    fn beat(&mut self) {
        for legion in &self.legions {
            legion.announce();
        }
    }

    fn say(&mut self, line: &str) {
        log!(NAME, "{} -> {}: {line}", self.what.ip, self.what.server);
    }

    fn report(&mut self, elapsed: Duration) {
        let (elapsed, deadline) = (elapsed.as_secs(), self.deadline.as_secs());
        self.say(&format!(
            "still at it after {elapsed} s (deadline {deadline} s)"
        ));
    }
}
