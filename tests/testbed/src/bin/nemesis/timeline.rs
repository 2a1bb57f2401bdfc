//! What has happened in a round, by the clock: the routes of the addresses, and what the webservice did.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An address, and the server that it is at now.
type Move = (IpAddr, Option<usize>);

#[derive(Default)]
struct Past {
    moves: Vec<(Instant, Move)>,
    lines: Vec<(Instant, String)>,
}

/// Collects a service's events until the service ends.
#[derive(Clone, Default)]
pub struct Timeline(Arc<Mutex<Past>>);

impl Timeline {
    /// `moved` is the move that an event tells of.
    pub fn follow<E: Display + Send + 'static>(
        events: Receiver<E>,
        moved: impl Fn(&E) -> Option<Move> + Send + 'static,
    ) -> Timeline {
        let timeline = Timeline::default();
        let followed = timeline.clone();
        thread::spawn(move || {
            for event in events {
                followed.note(moved(&event), event.to_string());
            }
        });
        timeline
    }

    fn note(&self, moved: Option<Move>, line: String) {
        let now = Instant::now();
        let mut past = self.lock();
        past.moves.extend(moved.map(|moved| (now, moved)));
        past.lines.push((now, line));
    }

    /// Whether an address was at a server at any time between the two.
    pub fn was_at(&self, ip: IpAddr, server: usize, from: Instant, until: Instant) -> bool {
        let past = self.lock();
        let moves = || past.moves.iter().filter(|(_, (moved, _))| *moved == ip);
        let ends = moves().skip(1).map(|(at, _)| Some(*at));
        let mut spans = moves().zip(ends.chain([None]));
        spans.any(|((begin, (_, at)), end)| {
            *at == Some(server) && *begin <= until && end.is_none_or(|end| end >= from)
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
    fn addresses_are_known_by_time() {
        let (sender, events) = mpsc::channel();
        let [ip, other] = [4, 5].map(|n| IpAddr::from([n, n, n, n]));
        let timeline = Timeline::follow(events, move |server: &usize| Some((ip, Some(*server))));
        let start = Instant::now();
        for server in [0, 1] {
            sender.send(server).unwrap();
            while timeline.lines().len() <= server {
                thread::yield_now();
            }
        }
        let now = Instant::now();
        assert!(timeline.was_at(ip, 0, start, now));
        assert!(timeline.was_at(ip, 1, start, now));
        assert!(!timeline.was_at(ip, 0, now, now));
        assert!(timeline.was_at(ip, 1, now, now));
        assert!(!timeline.was_at(ip, 2, start, now));
        assert!(!timeline.was_at(other, 1, start, now));
    }
}
