//! What is counted of a legion and of each address that it routes, and where each was last seen.
//!
//! The numbers are plain words in memory. uWSGI's metrics read them at any time.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::takeover::{Failure, Outcome, Report, Seen};
use crate::uwsgi::metrics::Kind;

/// Longer names of legions are cut: a metric may become the name of a file.
const MAX_NAME: usize = 64;

/// Where an address leads, as far as this node has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Unknown,
    /// To this server.
    Here,
    /// To another server, or to none.
    Elsewhere(Option<String>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unknown => f.write_str("was not looked at"),
            Place::Here => f.write_str("leads here"),
            Place::Elsewhere(Some(server)) => write!(f, "leads to {server}"),
            Place::Elsewhere(None) => f.write_str("leads to no server"),
        }
    }
}

/// How a takeover ended, as far as it is counted.
pub enum Ended<'a> {
    Reported(&'a Report),
    /// It could not begin, or was given up.
    Failed,
}

/// What is counted of a legion.
#[derive(Debug)]
pub struct Figures {
    standing: AtomicI64,
    sick: AtomicI64,
    pub addresses: Vec<Address>,
    /// When the node was last seen to be Lord, in time since the machine was started.
    last_lord: Mutex<Option<Duration>>,
}

/// What is counted of an address that a legion routes.
#[derive(Debug)]
pub struct Address {
    pub ip: IpAddr,
    lord: AtomicI64,
    routed_here: AtomicI64,
    takeovers: AtomicI64,
    failures: AtomicI64,
    requests: AtomicI64,
    retries: AtomicI64,
    retakes: AtomicI64,
    last_takeover_ms: AtomicI64,
    last_takeover_time: AtomicI64,
    last_seen_ok_time: AtomicI64,
    /// Where it was last seen, and when, in time since the machine was started.
    place: Mutex<(Place, Duration)>,
}

/// A number, with the end of its name.
pub type Number<'a> = (String, Kind, &'a AtomicI64);

impl Figures {
    /// `addresses` may contain one several times.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Figures {
        let mut distinct: Vec<Address> = Vec::new();
        for ip in addresses {
            if !distinct.iter().any(|known| known.ip == ip) {
                distinct.push(Address::new(ip));
            }
        }
        Figures {
            standing: AtomicI64::new(0),
            sick: AtomicI64::new(0),
            addresses: distinct,
            last_lord: Mutex::new(None),
        }
    }

    pub fn address(&self, ip: IpAddr) -> Option<&Address> {
        self.addresses.iter().find(|address| address.ip == ip)
    }

    /// All numbers, with their names below the legion's.
    pub fn numbers(&self) -> Vec<Number<'_>> {
        let mut numbers = vec![
            ("standing".into(), Kind::Gauge, &self.standing),
            ("sick".into(), Kind::Gauge, &self.sick),
        ];
        for address in &self.addresses {
            numbers.extend(address.numbers());
        }
        numbers
    }

    /// What one of the master's cycles has seen. `standing` is 0 for a voter, 1 for a last resort,
    /// and 2 for a node that is fit.
    pub fn note_cycle(&self, now: Duration, is_lord: bool, standing: i64, is_sick: bool) {
        set(&self.standing, standing);
        set(&self.sick, i64::from(is_sick));
        let mut last_lord = lock(&self.last_lord);
        if let Some(last_lord) = last_lord.filter(|_| !is_lord) {
            for address in &self.addresses {
                address.forget_place_of(last_lord);
            }
        }
        *last_lord = is_lord.then_some(now);
        for address in &self.addresses {
            set(&address.lord, i64::from(is_lord));
        }
    }
}

impl Address {
    fn new(ip: IpAddr) -> Address {
        let zero = || AtomicI64::new(0);
        Address {
            ip,
            lord: zero(),
            routed_here: zero(),
            takeovers: zero(),
            failures: zero(),
            requests: zero(),
            retries: zero(),
            retakes: zero(),
            last_takeover_ms: zero(),
            last_takeover_time: zero(),
            last_seen_ok_time: zero(),
            place: Mutex::new((Place::Unknown, Duration::ZERO)),
        }
    }

    fn numbers(&self) -> Vec<Number<'_>> {
        let ip = clean(&self.ip.to_string());
        [
            ("lord", Kind::Gauge, &self.lord),
            ("routed_here", Kind::Gauge, &self.routed_here),
            ("takeovers", Kind::Counter, &self.takeovers),
            ("failures", Kind::Counter, &self.failures),
            ("requests", Kind::Counter, &self.requests),
            ("retries", Kind::Counter, &self.retries),
            ("retakes", Kind::Counter, &self.retakes),
            ("last_takeover_ms", Kind::Gauge, &self.last_takeover_ms),
            ("last_takeover_time", Kind::Gauge, &self.last_takeover_time),
            ("last_seen_ok_time", Kind::Gauge, &self.last_seen_ok_time),
        ]
        .map(|(name, kind, number)| (format!("{ip}.{name}"), kind, number))
        .into()
    }

    /// A takeover has ended, after so long. `now` is since the machine was started, `unix_time` in
    /// seconds since 1970.
    pub fn note_takeover(&self, now: Duration, unix_time: i64, elapsed: Duration, ended: &Ended) {
        add(&self.takeovers, 1);
        set(&self.last_takeover_time, unix_time);
        let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        set(&self.last_takeover_ms, millis);
        let report = match ended {
            Ended::Failed => return add(&self.failures, 1),
            Ended::Reported(report) => report,
        };
        self.note_requests(report.requests);
        add(&self.retries, report.retries().into());
        match &report.outcome {
            Outcome::Routed => self.note_place(now, unix_time, Place::Here),
            // The provider accepted the change, and nobody can see more.
            Outcome::Unconfirmed(_) => self.set_place(now, Place::Here),
            Outcome::Outdated => {}
            Outcome::Failed(failure) => {
                add(&self.failures, 1);
                if let Some(place) = last_seen(failure) {
                    self.set_place(now, place);
                }
            }
        }
    }

    pub fn note_requests(&self, requests: u32) {
        add(&self.requests, requests.into());
    }

    /// The address is taken back because it led elsewhere.
    pub fn note_retake(&self) {
        add(&self.retakes, 1);
    }

    /// The provider has said where the address leads. The times are those of `note_takeover`.
    pub fn note_place(&self, now: Duration, unix_time: i64, place: Place) {
        if place == Place::Here {
            set(&self.last_seen_ok_time, unix_time);
        }
        self.set_place(now, place);
    }

    pub fn place(&self) -> Place {
        lock(&self.place).0.clone()
    }

    fn set_place(&self, now: Duration, place: Place) {
        set(&self.routed_here, i64::from(place == Place::Here));
        *lock(&self.place) = (place, now);
    }

    /// The node is no longer Lord, and was until then. Another one may take the address, unseen. What
    /// was seen later belongs to the next takeover.
    fn forget_place_of(&self, last_lord: Duration) {
        let mut place = lock(&self.place);
        if place.1 <= last_lord {
            place.0 = Place::Unknown;
            set(&self.routed_here, 0);
        }
    }
}

fn last_seen(failure: &Failure) -> Option<Place> {
    match failure {
        Failure::Limited { seen, .. } | Failure::OutOfTime { seen, .. } => match seen {
            Some(Seen::At(server)) => Some(Place::Elsewhere(server.clone())),
            Some(Seen::BeingChanged) | None => None,
        },
        Failure::Refused(_) | Failure::NoConnection { .. } => None,
    }
}

fn set(number: &AtomicI64, value: i64) {
    number.store(value, Ordering::Relaxed);
}

fn add(number: &AtomicI64, value: i64) {
    number.fetch_add(value, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name as part of a metric's name, in which a dot separates parts. uWSGI exits on a name that is
/// not made of `[A-Za-z0-9._-]` (core/metrics.c, `uwsgi_validate_metric_name`).
fn clean(name: &str) -> String {
    let clean = |character: char| match character {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' => character,
        _ => '_',
    };
    name.chars().take(MAX_NAME).map(clean).collect()
}

/// The names of legions in metrics, all of them different. Of two that would be the same, the second
/// has a number at its end.
pub fn legion_names(legions: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for legion in legions {
        let clean = clean(legion);
        let numbered = (2..).map(|number| format!("{clean}_{number}"));
        let name = std::iter::once(clean.clone())
            .chain(numbered)
            .find(|name| !names.contains(name));
        names.extend(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takeover::Problem;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn figures() -> Figures {
        let ips = ["4.4.4.4", "2a01:4f8:fff1::", "4.4.4.4"];
        Figures::new(ips.map(|ip| ip.parse().unwrap()))
    }

    fn number(figures: &Figures, name: &str) -> i64 {
        let numbers = figures.numbers();
        let found = numbers.iter().find(|(known, ..)| known == name);
        found.unwrap().2.load(Ordering::Relaxed)
    }

    fn report(outcome: Outcome, requests: u32, changes: u32) -> Report {
        Report {
            outcome,
            elapsed: at(0),
            requests,
            changes,
            steps: 1,
        }
    }

    fn out_of_time(seen: Option<Seen>) -> Outcome {
        Outcome::Failed(Failure::OutOfTime {
            reason: "it is broken".into(),
            seen,
            deadline: at(60),
        })
    }

    #[test]
    fn names_are_made_of_what_uwsgi_takes() {
        for (name, cleaned) in [
            ("failover", "failover"),
            ("Web-1_a", "Web-1_a"),
            ("a.b c/d", "a_b_c_d"),
            ("büro\n", "b_ro_"),
            ("4.4.4.4", "4_4_4_4"),
            ("2a01:4f8:fff1::", "2a01_4f8_fff1__"),
        ] {
            assert_eq!(clean(name), cleaned);
        }
        assert_eq!(clean(&"x".repeat(300)).len(), MAX_NAME);
    }

    #[test]
    fn two_legions_never_share_a_name() {
        for (legions, names) in [
            (&["a", "b"][..], &["a", "b"][..]),
            (&["a b", "a.b", "a/b"], &["a_b", "a_b_2", "a_b_3"]),
            (&["a.b", "a_b_2", "a b"], &["a_b", "a_b_2", "a_b_3"]),
        ] {
            let legions: Vec<String> = legions.iter().map(|name| name.to_string()).collect();
            assert_eq!(legion_names(&legions), names);
        }
    }

    #[test]
    fn each_address_has_its_numbers_once() {
        let figures = figures();
        let names: Vec<String> = figures
            .numbers()
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(names.len(), 22, "{names:?}");
        for name in [
            "standing",
            "sick",
            "4_4_4_4.lord",
            "2a01_4f8_fff1__.retakes",
        ] {
            assert_eq!(names.iter().filter(|known| *known == name).count(), 1);
        }
    }

    #[test]
    fn takeovers_are_counted() {
        let figures = figures();
        let address = &figures.addresses[0];
        let elsewhere = Some(Seen::At(Some("2.2.2.2".into())));
        let mut time = 999;
        for (ended, place) in [
            (report(Outcome::Outdated, 1, 0), Place::Unknown),
            (report(Outcome::Routed, 1, 1), Place::Here),
            (report(out_of_time(None), 9, 5), Place::Here),
            (
                report(out_of_time(elsewhere), 2, 2),
                Place::Elsewhere(Some("2.2.2.2".into())),
            ),
            (
                report(Outcome::Unconfirmed(Problem::new("no GET")), 1, 1),
                Place::Here,
            ),
        ] {
            time += 1;
            address.note_takeover(
                at(7),
                time,
                Duration::from_millis(1500),
                &Ended::Reported(&ended),
            );
            assert_eq!(address.place(), place);
            let is_here = i64::from(place == Place::Here);
            assert_eq!(number(&figures, "4_4_4_4.routed_here"), is_here);
        }
        address.note_takeover(at(8), 2000, at(3), &Ended::Failed);
        for (name, value) in [
            ("takeovers", 6),
            ("failures", 3),
            ("requests", 14),
            ("retries", 5),
            ("last_takeover_ms", 3000),
            ("last_takeover_time", 2000),
            ("last_seen_ok_time", 1001),
        ] {
            assert_eq!(
                number(&figures, &format!("4_4_4_4.{name}")),
                value,
                "{name}"
            );
            assert_eq!(number(&figures, &format!("2a01_4f8_fff1__.{name}")), 0);
        }
    }

    #[test]
    fn only_a_lord_knows_where_an_address_leads() {
        let figures = figures();
        let address = &figures.addresses[0];
        let cycle = |second, is_lord| {
            figures.note_cycle(at(second), is_lord, 2, false);
            (address.place(), number(&figures, "4_4_4_4.lord"))
        };
        // The takeover ends before the node is Lord.
        address.note_place(at(1), 1001, Place::Here);
        assert_eq!(cycle(1, false), (Place::Here, 0));
        assert_eq!(cycle(2, true), (Place::Here, 1));
        assert_eq!(cycle(3, false), (Place::Unknown, 0));
        assert_eq!(number(&figures, "4_4_4_4.routed_here"), 0);
        // It is Lord again, and the next takeover ends before anybody saw that it was not.
        assert_eq!(cycle(4, true), (Place::Unknown, 1));
        address.note_place(at(5), 1005, Place::Here);
        assert_eq!(cycle(6, false), (Place::Here, 0));
        assert_eq!(cycle(7, true), (Place::Here, 1));
        assert_eq!(number(&figures, "4_4_4_4.last_seen_ok_time"), 1005);
    }

    #[test]
    fn a_place_is_shown_in_words() {
        for (place, words) in [
            (Place::Unknown, "was not looked at"),
            (Place::Here, "leads here"),
            (Place::Elsewhere(Some("2.2.2.2".into())), "leads to 2.2.2.2"),
            (Place::Elsewhere(None), "leads to no server"),
        ] {
            assert_eq!(place.to_string(), words);
        }
    }
}
