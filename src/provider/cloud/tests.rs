//! Whole takeovers by the real client, against the mock Cloud over TLS.

mod aliases;
mod floating;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

use testbed::cloud::{Cloud, Settings};

use super::server::Metadata;
use super::*;
use crate::order::{self, Action, Order};
use crate::provider::{self, Goal};
use crate::takeover::{
    Bounds, Budget, Change, Clock, Failure, Look, Outcome, Provider, Report, Surroundings,
    take_over,
};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);
/// How much faster than the real one the clock of these tests is.
const FASTER: u32 = 50;

/// Sleeps a part of the time.
#[derive(Default)]
struct FastClock {
    skipped: Duration,
}

impl Clock for FastClock {
    fn now(&self) -> Instant {
        Instant::now() + self.skipped
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(100_000) + self.skipped
    }

    fn sleep(&mut self, span: Duration) {
        std::thread::sleep(span / FASTER);
        self.skipped += span - span / FASTER;
    }
}

/// A takeover that has ended.
struct Ended {
    report: Report,
    lines: Vec<String>,
}

impl Ended {
    #[track_caller]
    fn is_routed(&self) {
        let Report { outcome, .. } = &self.report;
        assert!(
            matches!(outcome, Outcome::Routed),
            "{outcome:?} {:#?}",
            self.lines
        );
    }

    /// The sentence of a failure, which is for good or not.
    #[track_caller]
    fn failure(&self, for_good: bool) -> String {
        let Outcome::Failed(failure) = &self.report.outcome else {
            panic!("{:?} {:#?}", self.report, self.lines);
        };
        assert_eq!(Failure::is_for_good(failure), for_good, "{failure}");
        failure.to_string()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An order of server 43 for one address, with these keys beside those of the mock.
fn order(cloud: &Cloud, action: Action, ip: &str, keys: &str) -> Order {
    let server = if keys.contains("server=") || keys.contains("metadata") {
        ""
    } else {
        "server=43,"
    };
    let keys = keys.trim_start_matches("metadata");
    let argument = format!(
        "token={},endpoint={},ca_file={},ip={ip},{server}{keys}",
        Settings::default().token,
        cloud.endpoint(),
        cloud.ca_file().display(),
    );
    let mut orders = order::parse(action, argument.as_bytes()).unwrap();
    assert_eq!(orders.len(), 1);
    orders.remove(0)
}

fn client(order: &Order, goal: Goal, shared: &Arc<provider::Shared>) -> Box<dyn Provider> {
    provider::client(order, goal, shared).unwrap()
}

fn run(order: &Order, provider: &mut dyn Provider) -> Ended {
    let mut clock = FastClock::default();
    let bounds = Bounds {
        start: clock.now(),
        timeout: order.timeout,
        deadline: order.deadline,
        look_first: false,
        cautious: false,
        changes_an_hour: LIMITS.changes,
        reserved_changes: 0,
        sharing: 1,
    };
    let lines = RefCell::new(Vec::new());
    let around = Surroundings {
        clock: &mut clock,
        budget: &Mutex::new(Budget::new(LIMITS)),
        is_elected: &|| true,
        log: &mut |line| lines.borrow_mut().push(line),
    };
    let report = take_over(bounds, provider, around);
    let lines = lines.into_inner();
    for line in lines.iter().cloned().chain([format!("{report:?}")]) {
        assert!(!line.contains(&Settings::default().token), "{line}");
    }
    Ended { report, lines }
}

/// What a check asks.
fn survey_of(order: &Order) -> Survey {
    let order::Service::Cloud(cloud) = &order.service else {
        panic!("a Cloud address");
    };
    survey(order, cloud, &Arc::default(), LONG).unwrap()
}

/// A takeover of one address to server 43.
fn take(cloud: &Cloud, action: Action, ip: &str, keys: &str) -> Ended {
    let order = order(cloud, action, ip, keys);
    run(&order, &mut *client(&order, Goal::Here, &Arc::default()))
}
