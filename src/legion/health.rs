//! Whether a node's application is sick, according to the probes of its health checks.

use std::time::Duration;

/// A node that falls sick again within this time after it recovered is flapping.
const FLAPPING: Duration = Duration::from_secs(600);

/// The result of one probe; the error says why it is bad.
pub type Probe = Result<(), String>;

/// One health check. It starts as sick: a node is fit only once its application was seen to work.
#[derive(Debug)]
pub struct Health {
    name: String,
    interval: Duration,
    fall: u32,
    rise: u32,
    /// How many good probes in a row are needed now: `rise`, and more while the check is flapping.
    needed: u32,
    is_sick: bool,
    /// Good probes in a row while it is sick, or bad ones while it is healthy.
    streak: u32,
    has_fallen: bool,
    /// When it last recovered after it had fallen sick.
    recovered: Option<Duration>,
    /// A line about it has been logged, so a sick state at the start is not logged again.
    has_logged: bool,
}

impl Health {
    pub fn new(name: &str, interval: Duration, fall: u32, rise: u32) -> Health {
        Health {
            name: name.into(),
            interval,
            fall,
            rise,
            needed: rise,
            is_sick: true,
            streak: 0,
            has_fallen: false,
            recovered: None,
            has_logged: false,
        }
    }

    pub fn is_sick(&self) -> bool {
        self.is_sick
    }

    /// Records the result of a probe. Returns a line for the log if something changed.
    pub fn note(&mut self, now: Duration, probe: Probe) -> Option<String> {
        match (probe, self.is_sick) {
            (Ok(()), true) => {
                self.streak += 1;
                (self.streak >= self.needed).then(|| self.recover(now))
            }
            (Err(reason), false) => {
                self.streak += 1;
                (self.streak >= self.fall).then(|| self.fall_sick(now, &reason))
            }
            (Err(reason), true) => {
                self.streak = 0;
                (!std::mem::replace(&mut self.has_logged, true))
                    .then(|| format!("sick: {} {reason}", self.name))
            }
            (Ok(()), false) => {
                self.streak = 0;
                None
            }
        }
    }

    fn recover(&mut self, now: Duration) -> String {
        self.is_sick = false;
        self.has_logged = true;
        self.recovered = self.has_fallen.then_some(now);
        let times = times(self.streak);
        self.streak = 0;
        format!("healthy: {} passed {times}", self.name)
    }

    fn fall_sick(&mut self, now: Duration, reason: &str) -> String {
        let is_flapping = self
            .recovered
            .is_some_and(|recovered| now.saturating_sub(recovered) < FLAPPING);
        self.needed = match is_flapping {
            true => self.needed.saturating_mul(2).min(self.most_needed()),
            false => self.rise,
        };
        self.is_sick = true;
        self.has_fallen = true;
        let times = times(self.streak);
        self.streak = 0;
        format!("sick: {} {reason} {times}", self.name)
    }

    /// The upper limit of `needed`: ten minutes of probes.
    fn most_needed(&self) -> u32 {
        let probes = FLAPPING.as_secs() / self.interval.as_secs().max(1);
        u32::try_from(probes).unwrap_or(u32::MAX).max(self.rise)
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".into(),
        2 => "twice in a row".into(),
        count => format!("{count} times in a row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn bad() -> Probe {
        Err("answered 503".into())
    }

    fn check() -> Health {
        Health::new("http://app/", at(2), 3, 5)
    }

    /// Probes until it changes, and returns after how many.
    fn until_change(health: &mut Health, now: Duration, probe: &Probe) -> (u32, String) {
        for count in 1..100_000 {
            let was_sick = health.is_sick();
            let line = health.note(now, probe.clone());
            if health.is_sick() != was_sick {
                return (count, line.expect("a change is logged"));
            }
        }
        panic!("it never changes");
    }

    #[test]
    fn a_node_is_not_fit_before_so_many_good_probes() {
        let mut health = check();
        assert!(health.is_sick());
        let (count, line) = until_change(&mut health, at(1), &Ok(()));
        assert_eq!(count, 5);
        assert_eq!(line, "healthy: http://app/ passed 5 times in a row");
    }

    #[test]
    fn so_many_bad_probes_in_a_row_make_it_sick() {
        let mut health = check();
        until_change(&mut health, at(1), &Ok(()));
        for probe in [bad(), bad(), Ok(()), bad(), bad()] {
            assert_eq!(health.note(at(700), probe), None);
        }
        let line = health.note(at(700), bad());
        assert_eq!(
            line.unwrap(),
            "sick: http://app/ answered 503 3 times in a row"
        );
        assert!(health.is_sick());
    }

    #[test]
    fn an_application_that_does_not_work_at_the_start_is_logged_once() {
        let mut health = check();
        assert_eq!(
            health.note(at(1), bad()).unwrap(),
            "sick: http://app/ answered 503"
        );
        assert_eq!(health.note(at(2), bad()), None);
    }

    #[test]
    fn flapping_is_damped_up_to_ten_minutes() {
        let mut health = check();
        until_change(&mut health, at(0), &Ok(()));
        let mut needed = Vec::new();
        for round in 0..9 {
            until_change(&mut health, at(round), &bad());
            needed.push(until_change(&mut health, at(round), &Ok(())).0);
        }
        assert_eq!(needed, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        // After ten healthy minutes it starts over.
        until_change(&mut health, at(1000), &bad());
        assert_eq!(until_change(&mut health, at(1000), &Ok(())).0, 5);
    }
}
