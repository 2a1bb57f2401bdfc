//! Notices that the process did not run for a while.
//!
//! A process may be stopped, and a machine paused. Meanwhile its peers replace it, and when it runs
//! again, their old packets are still waiting in its socket. All threads wake at the same time, so
//! each of them checks for itself, and does not rely on another one to notice it first.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::uwsgi::settings;

/// A master runs its cycle about once a second, unless configured otherwise; a shorter gap is no
/// standstill.
const LEAST: Duration = Duration::from_secs(2);

/// When this process last ran, and when it last did not. Times are since the machine was started.
#[derive(Debug)]
pub struct Standstill(Mutex<Times>);

#[derive(Debug, Clone, Copy)]
struct Times {
    /// The last sign of life.
    alive: Option<Duration>,
    /// When the last standstill ended, as far as it was noticed.
    ended: Option<Duration>,
}

impl Standstill {
    pub const fn new() -> Standstill {
        Standstill(Mutex::new(Times {
            alive: None,
            ended: None,
        }))
    }

    /// When the last standstill ended; `None` if there was none. This call is a sign of life, too.
    pub fn last(&self, now: Duration) -> Option<Duration> {
        self.last_if_longer_than(now, threshold())
    }

    fn last_if_longer_than(&self, now: Duration, threshold: Duration) -> Option<Duration> {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = times.alive.map(|alive| now.saturating_sub(alive));
        if gap.is_some_and(|gap| gap >= threshold) {
            times.ended = Some(now);
        }
        times.alive = Some(times.alive.map_or(now, |alive| alive.max(now)));
        times.ended
    }
}

/// The shortest gap that counts. Peers drop a node that was silent for `legion-tolerance`, and its last
/// announcement may have been one interval before the gap.
fn threshold() -> Duration {
    settings::tolerance()
        .saturating_sub(settings::announce_interval())
        .max(LEAST)
        .max(2 * settings::cycle_interval())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_gap_between_two_signs_of_life_is_a_standstill() {
        let standstill = Standstill::new();
        let last = |now| standstill.last_if_longer_than(at(now), at(4));
        assert_eq!(last(10), None, "the first sign of life");
        assert_eq!(last(13), None);
        assert_eq!(last(17), Some(at(17)));
        // The other thread asks right after that.
        assert_eq!(last(17), Some(at(17)));
        assert_eq!(last(18), Some(at(17)));
        assert_eq!(last(30), Some(at(30)));
    }
}
