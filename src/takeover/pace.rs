//! When the next request is due, and how long it may take. Nothing passes the deadline.

use std::time::{Duration, Instant};

/// The first wait between two looks, and before a change that can follow soon.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait between two looks while a change is running, and between two attempts to
/// connect.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The longest wait between two looks that get no answer. Such looks may go on until the deadline, and
/// the requests per hour are limited.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(15);
/// The same once a maintenance takes longer than this.
const LATER_PROBE_WAIT: Duration = Duration::from_secs(45);
const LONG_MAINTENANCE: Duration = Duration::from_secs(120);
/// The wait between them in a takeover that follows a failed one. Other nodes try in turn, and all of
/// them share the requests per hour.
const CAUTIOUS_PROBE_WAIT: Duration = Duration::from_secs(54);
/// The first wait between two attempts to connect.
const FIRST_CONNECTION_WAIT: Duration = Duration::from_secs(1);
/// While a change may be running, the next is sent this long after the last at the earliest. By
/// then most changes have ended (they take 40 to 110 s), and later ones wait longer.
const CHANGE_GAPS: [Duration; 2] = [Duration::from_secs(45), Duration::from_secs(60)];
/// The shortest gap after those.
const LATER_CHANGE_GAP: Duration = Duration::from_secs(75);
/// The most time that is kept back from a change, so that a lost answer leaves time for a look.
const RESERVE: Duration = Duration::from_secs(5);
/// No request is sent with less time left than this.
const LEAST: Duration = Duration::from_millis(100);

/// The limits of a takeover, and how careful it has to be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// When the takeover began.
    pub start: Instant,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long the whole takeover may take.
    pub deadline: Duration,
    /// Look before the first change.
    pub look_first: bool,
    /// The last takeover failed, so send no change before a look was answered, and few requests.
    pub cautious: bool,
    /// How many changes this process may send in an hour.
    pub changes_an_hour: usize,
}

/// Time as a takeover sees it, so that its tests take none.
pub trait Clock {
    fn now(&self) -> Instant;
    /// The time since the machine was started.
    fn uptime(&self) -> Duration;
    fn sleep(&mut self, span: Duration);
}

pub struct Pace<'a> {
    clock: &'a mut dyn Clock,
    bounds: Bounds,
    /// When the current attempt to connect began.
    attempt: Instant,
    next_connection_wait: Duration,
    next_look_wait: Duration,
    /// When the last change was sent.
    last_change: Option<Instant>,
}

impl<'a> Pace<'a> {
    pub fn new(bounds: Bounds, clock: &'a mut dyn Clock) -> Pace<'a> {
        Pace {
            clock,
            bounds,
            attempt: bounds.start,
            next_connection_wait: FIRST_CONNECTION_WAIT,
            next_look_wait: FIRST_WAIT,
            last_change: None,
        }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    pub fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    pub fn elapsed(&self) -> Duration {
        self.clock
            .now()
            .saturating_duration_since(self.bounds.start)
    }

    fn left(&self) -> Duration {
        self.bounds.deadline.saturating_sub(self.elapsed())
    }

    /// When the last request was begun.
    pub fn last_attempt(&self) -> Instant {
        self.attempt
    }

    /// Whether there is still time for a request.
    pub fn has_time(&self) -> bool {
        self.left() >= LEAST
    }

    /// Sleeps, but not past the deadline.
    pub fn sleep(&mut self, span: Duration) {
        let span = span.min(self.left());
        self.clock.sleep(span);
    }

    /// A change begins now. Returns how long it may take.
    pub fn begin_change(&mut self) -> Duration {
        self.attempt = self.clock.now();
        let left = self.left();
        self.bounds.timeout.min(left - RESERVE.min(left / 8))
    }

    /// The change that was begun has been sent.
    pub fn note_change(&mut self) {
        self.last_change = Some(self.attempt);
        self.next_connection_wait = FIRST_CONNECTION_WAIT;
    }

    /// A look begins now. Returns how long it may take.
    ///
    /// A look is answered at once or not at all, so it gets less than a change: a quarter of the
    /// timeout, but at least 5 s.
    pub fn begin_look(&mut self) -> Duration {
        self.attempt = self.clock.now();
        let patience = (self.bounds.timeout / 4).max(MAX_WAIT);
        self.bounds.timeout.min(patience).min(self.left())
    }

    /// Starts a series of looks: the first wait is short again.
    pub fn restart_looks(&mut self) {
        self.next_look_wait = FIRST_WAIT;
    }

    /// How long to wait before the next look: 2 s, growing to 5 s.
    pub fn look_wait(&mut self) -> Duration {
        let wait = self.next_look_wait;
        self.next_look_wait = (wait * 3 / 2).min(MAX_WAIT);
        wait
    }

    /// The same while looks get no answer: 2 s, growing to 15 s, and later 45 s.
    pub fn probe_wait(&mut self) -> Duration {
        if self.bounds.cautious {
            return CAUTIOUS_PROBE_WAIT;
        }
        if self.elapsed() > LONG_MAINTENANCE {
            return LATER_PROBE_WAIT;
        }
        let wait = self.next_look_wait;
        self.next_look_wait = (wait * 3 / 2).min(MAX_PROBE_WAIT);
        wait
    }

    /// How long to wait before connecting again: 1 s, growing to 5 s, less what the failed attempt
    /// took.
    pub fn connection_wait(&mut self) -> Duration {
        let spent = self.clock.now().saturating_duration_since(self.attempt);
        let wait = self.next_connection_wait.saturating_sub(spent);
        self.next_connection_wait = (self.next_connection_wait * 2).min(MAX_WAIT);
        wait
    }

    /// The wait before a change that can follow soon, `left` being how many may still be sent.
    pub fn soon(&self, left: u32) -> Duration {
        FIRST_WAIT.min(self.spread(left))
    }

    /// An even share of the time left.
    pub fn spread(&self, left: u32) -> Duration {
        self.left() / (left + 1)
    }

    /// When the next change is due while one may be running. `sent` have been sent, and `left` may
    /// still be.
    pub fn due_while_running(&self, sent: u32, left: u32) -> Instant {
        let gap = sent
            .checked_sub(1)
            .and_then(|index| CHANGE_GAPS.get(index as usize).copied())
            .unwrap_or_else(|| LATER_CHANGE_GAP.max(self.spread(left)));
        self.last_change.unwrap_or_else(|| self.now()) + gap
    }
}
