//! What has happened in a round, by the clock: the routes of the addresses, and what the webservice did.

use std::net::IpAddr;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use testbed::robot::Event;

#[derive(Default)]
struct Past {
    routes: Vec<(Instant, IpAddr, Option<IpAddr>)>,
    lines: Vec<(Instant, String)>,
}

/// Collects a Robot's events until the Robot ends.
#[derive(Clone, Default)]
pub struct Timeline(Arc<Mutex<Past>>);

impl Timeline {
    pub fn follow(events: Receiver<Event>) -> Timeline {
        let timeline = Timeline::default();
        let followed = timeline.clone();
        thread::spawn(move || {
            for event in events {
                followed.note(&event);
            }
        });
        timeline
    }

    fn note(&self, event: &Event) {
        let now = Instant::now();
        let mut past = self.lock();
        if let Event::Routed { ip, to } = event {
            past.routes.push((now, *ip, *to));
        }
        past.lines.push((now, event.to_string()));
    }

    /// Whether an address was routed there at any time between the two.
    pub fn was_routed(&self, ip: IpAddr, to: IpAddr, from: Instant, until: Instant) -> bool {
        let past = self.lock();
        let routes = || past.routes.iter().filter(|(_, routed, _)| *routed == ip);
        let ends = routes().skip(1).map(|(at, ..)| Some(*at));
        let mut spans = routes().zip(ends.chain([None]));
        spans.any(|((begin, _, route), end)| {
            *route == Some(to) && *begin <= until && end.is_none_or(|end| end >= from)
        })
    }

    pub fn lines(&self) -> Vec<(Instant, String)> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since the start of a round; negative before the first Lord.
pub fn since(start: Instant, at: Instant) -> f64 {
    match at.checked_duration_since(start) {
        Some(after) => after.as_secs_f64(),
        None => -start.saturating_duration_since(at).as_secs_f64(),
    }
}

/// A little earlier; the clock may not go that far back.
pub fn before(at: Instant, span: Duration) -> Instant {
    at.checked_sub(span).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn routes_are_known_by_time() {
        let (sender, events) = mpsc::channel();
        let [ip, here, there] = [4, 1, 2].map(|n| IpAddr::from([n, n, n, n]));
        let timeline = Timeline::follow(events);
        let start = Instant::now();
        for to in [here, there] {
            let event = Event::Routed { ip, to: Some(to) };
            sender.send(event).unwrap();
            while timeline
                .lines()
                .last()
                .is_none_or(|(_, line)| !line.contains(&to.to_string()))
            {
                thread::yield_now();
            }
        }
        let now = Instant::now();
        assert!(timeline.was_routed(ip, here, start, now));
        assert!(timeline.was_routed(ip, there, start, now));
        assert!(!timeline.was_routed(ip, here, now, now));
        assert!(timeline.was_routed(ip, there, now, now));
        assert!(!timeline.was_routed(ip, ip, start, now));
    }
}
