//! The legion action `hetzner-failoverip`: an order, its takeover, and what is said of it.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::boot;
use crate::config::{Order, Url};
use crate::heartbeat::{self, Beat, Lost};
use crate::robot::{self, Client, SetupError};
use crate::takeover::{self, Bounds, Budget, Clock, Outcome, Report, Seconds, Surroundings};
use crate::uwsgi::{self, Legion, log};
use crate::{confidential, lordship, suspension};

/// What every log line of a takeover begins with.
const NAME: &str = "hetzner-failoverip";

/// After a takeover as long as this, what peers sent meanwhile is no longer worth hearing.
const LONG_DEAF: Duration = Duration::from_secs(30);

/// A takeover ends by itself at its deadline; only a file that hangs, or a bug, lets it run on for
/// this long.
const GRACE: Duration = Duration::from_secs(2);

/// What this process knows of the takeovers of each failover IP.
static HISTORY: Mutex<Vec<Past>> = Mutex::new(Vec::new());

/// The requests of the last hour, for each account.
static BUDGETS: Mutex<Vec<(Vec<u8>, Arc<Mutex<Budget>>)>> = Mutex::new(Vec::new());

/// Accounts that are kept count of. More are not in use at the same time.
const MAX_ACCOUNTS: usize = 16;

#[derive(Clone)]
struct Past {
    resource: Url,
    has_routed: bool,
    failed_last: bool,
}

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
    let (resource, budget) = (order.url.clone(), budget(&order));
    let past = past(&resource);
    let nodes = legion.electorate().0 + 1;
    let ended = heartbeat::accompany(&mut beat, bound, move |say| {
        run(&order, &past, nodes, &budget, &mut |line| say.say(line))
    });
    beat.end(uwsgi::uptime().saturating_sub(start));
    warn_of_shortfall();
    let succeeded = what.log_end(ended);
    note_end(&resource, succeeded);
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
            "WARNING the password may be exposed in a worker started during this takeover, in a \
             core dump or in swap: its memory could not be protected"
        );
    }
}

fn past(resource: &Url) -> Past {
    let history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    let found = history.iter().find(|past| past.resource == *resource);
    found.cloned().unwrap_or_else(|| Past {
        resource: resource.clone(),
        has_routed: false,
        failed_last: false,
    })
}

fn note_end(resource: &Url, succeeded: bool) {
    let before = past(resource);
    let mut history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    history.retain(|past| past.resource != *resource);
    history.push(Past {
        resource: resource.clone(),
        has_routed: succeeded || before.has_routed,
        failed_last: !succeeded,
    });
}

/// The requests that this process has sent for the same account.
fn budget(order: &Order) -> Arc<Mutex<Budget>> {
    let authority = order.url.as_uri().authority();
    let authority = authority.map_or("", |authority| authority.as_str());
    let account = [authority.as_bytes(), b" ", &order.username].concat();
    let mut budgets = BUDGETS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = budgets.iter().position(|(known, _)| *known == account);
    let entry = match known {
        Some(index) => budgets.remove(index),
        None => (account, Arc::new(Mutex::new(Budget::new(robot::LIMITS)))),
    };
    let budget = entry.1.clone();
    // The one that was not used for the longest time is the first.
    budgets.push(entry);
    if budgets.len() > MAX_ACCOUNTS {
        budgets.remove(0);
    }
    budget
}

/// The takeover itself, on its own thread.
fn run(
    order: &Order,
    past: &Past,
    nodes: usize,
    budget: &Mutex<Budget>,
    log: &mut dyn FnMut(String),
) -> Result<Report, SetupError> {
    // Reading files and certificates is part of the takeover's time.
    let bounds = Bounds {
        start: Instant::now(),
        timeout: order.timeout,
        deadline: order.deadline,
        look_first: past.has_routed || past.failed_last,
        cautious: past.failed_last,
        // While takeovers fail, the nodes try in turn, and share what one account may send.
        changes_an_hour: match past.failed_last {
            true => (robot::LIMITS.changes / nodes).max(1),
            false => robot::LIMITS.changes,
        },
    };
    let mut client = Client::new(order)?;
    let around = Surroundings {
        clock: &mut SystemClock,
        budget,
        is_elected: &|| true,
        log,
    };
    Ok(takeover::take_over(bounds, &mut client, around))
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
                    "WARNING {ip} is routed to {server}, unconfirmed: the endpoint accepted the \
                     request, but does not report where the IP is routed: {problem} ({summary})"
                );
                true
            }
            Outcome::Outdated => self.log_failure(&"the election is out of date"),
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

    fn uptime(&self) -> Duration {
        uwsgi::uptime()
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
            "still waiting after {elapsed} s (deadline {deadline} s)"
        ));
    }
}
