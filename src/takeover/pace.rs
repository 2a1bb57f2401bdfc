//! When the next request is due, and how long it may take. Nothing passes the deadline.

use std::time::{Duration, Instant};

use super::Tempo;

/// The longest wait between two attempts to connect, and what a look gets at least.
const MAX_WAIT: Duration = Duration::from_secs(5);
const LONG_TAKEOVER: Duration = Duration::from_secs(120);
/// The first wait between two attempts to connect.
const FIRST_CONNECTION_WAIT: Duration = Duration::from_secs(1);
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
    /// How many of them are kept for other first changes: of the other addresses, and of the next
    /// takeover.
    pub reserved_changes: usize,
    /// How many takeovers send looks for the same few requests: each looks so much less often.
    pub sharing: u32,
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
    tempo: &'static Tempo,
    /// When the current attempt to connect began.
    attempt: Instant,
    next_connection_wait: Duration,
    next_look_wait: Duration,
    /// When the last change was sent.
    last_change: Option<Instant>,
}

impl<'a> Pace<'a> {
    pub fn new(bounds: Bounds, tempo: &'static Tempo, clock: &'a mut dyn Clock) -> Pace<'a> {
        Pace {
            clock,
            bounds,
            tempo,
            attempt: bounds.start,
            next_connection_wait: FIRST_CONNECTION_WAIT,
            next_look_wait: tempo.first_wait,
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
        let rest = left - RESERVE.min(left / 8);
        match self.tempo.requests {
            1 => self.bounds.timeout.min(rest),
            // Each of its requests is bounded by itself.
            _ => rest,
        }
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
        let timeout = self.bounds.timeout;
        let patience = match self.tempo.requests {
            1 => timeout.min((timeout / 4).max(MAX_WAIT)),
            several => timeout * several,
        };
        patience.min(self.left())
    }

    /// Starts a series of looks: the first wait is short again.
    pub fn restart_looks(&mut self) {
        self.next_look_wait = self.tempo.first_wait;
    }

    /// How long to wait before the next look: longer each time.
    pub fn look_wait(&mut self) -> Duration {
        let wait = self.next_look_wait;
        let grown = wait + wait * self.tempo.growth / 10;
        let longest = match self.elapsed() > LONG_TAKEOVER {
            true => self.tempo.later_wait,
            false => self.tempo.longest_wait,
        };
        self.next_look_wait = grown.min(longest);
        wait * self.bounds.sharing
    }

    /// The same while looks get no answer, which may go on until the deadline.
    pub fn probe_wait(&mut self) -> Duration {
        if self.bounds.cautious {
            return self.tempo.cautious_probe_wait;
        }
        if self.elapsed() > LONG_TAKEOVER {
            return self.tempo.later_probe_wait;
        }
        let wait = self.next_look_wait.max(self.tempo.soon);
        self.next_look_wait = (wait * 3 / 2).min(self.tempo.longest_probe_wait);
        wait * self.bounds.sharing
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
        self.tempo.soon.min(self.spread(left))
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
            .and_then(|index| self.tempo.change_gaps.get(index as usize).copied())
            .unwrap_or_else(|| self.tempo.later_change_gap.max(self.spread(left)));
        self.last_change.unwrap_or_else(|| self.now()) + gap
    }
}
