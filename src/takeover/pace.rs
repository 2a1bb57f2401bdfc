//! When the next request is due, and how long it may take: nothing passes the deadline.

use std::time::{Duration, Instant};

/// The first wait between two questions, two connections or two posts.
const SOON: Duration = Duration::from_secs(2);
/// The longest wait between two questions, and between two attempts to connect.
const OFTEN: Duration = Duration::from_secs(5);
/// The first wait between two attempts to connect.
const AT_FIRST: Duration = Duration::from_secs(1);
/// The most that is kept back from a post, so that its loss leaves time to ask what it did.
const RESERVE: Duration = Duration::from_secs(5);
/// How many questions may be asked in one takeover: the webservice allows 100 an hour.
const MAX_QUESTIONS: u32 = 90;
/// With less time than this no request is begun.
const LEAST: Duration = Duration::from_millis(100);

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// When the takeover began.
    pub start: Instant,
    /// One request.
    pub timeout: Duration,
    /// The whole takeover.
    pub deadline: Duration,
}

/// Time as a takeover sees it, so that its tests need none to pass.
pub trait Clock {
    fn now(&self) -> Instant;
    fn sleep(&mut self, span: Duration);
}

pub struct Pace<'a> {
    clock: &'a mut dyn Clock,
    bounds: Bounds,
    /// When the current attempt to connect began.
    attempt: Instant,
    next_connection: Duration,
    next_question: Duration,
}

impl<'a> Pace<'a> {
    pub fn new(bounds: Bounds, clock: &'a mut dyn Clock) -> Pace<'a> {
        Pace {
            clock,
            bounds,
            attempt: bounds.start,
            next_connection: AT_FIRST,
            next_question: SOON,
        }
    }

    pub fn deadline(&self) -> Duration {
        self.bounds.deadline
    }

    pub fn elapsed(&self) -> Duration {
        self.clock
            .now()
            .saturating_duration_since(self.bounds.start)
    }

    fn left(&self) -> Duration {
        self.bounds.deadline.saturating_sub(self.elapsed())
    }

    pub fn wait(&mut self, span: Duration) {
        self.clock.sleep(span);
    }

    /// How long a post may take that begins now.
    pub fn post_time(&mut self) -> Duration {
        self.attempt = self.clock.now();
        let left = self.left();
        self.bounds.timeout.min(left - RESERVE.min(left / 8))
    }

    /// How long a question may take that is asked now; `None` if there is no time left.
    ///
    /// It is answered at once or not at all, so it gets less than a post: a quarter of the
    /// timeout, and 5 s at least.
    pub fn get_time(&self) -> Option<Duration> {
        let left = self.left();
        let patience = (self.bounds.timeout / 4).max(OFTEN);
        (left >= LEAST).then(|| self.bounds.timeout.min(patience).min(left))
    }

    /// A confirm begins: the first wait is short again.
    pub fn first_question(&mut self) {
        self.next_question = SOON;
    }

    /// Waits between two questions: 2 s growing to 5 s, or longer where a long deadline would
    /// have more of them asked than the webservice allows.
    pub fn wait_to_ask(&mut self) {
        let least = self.bounds.deadline / MAX_QUESTIONS;
        let pause = self.next_question.max(least).min(self.left());
        self.next_question = (self.next_question * 3 / 2).min(OFTEN);
        self.clock.sleep(pause);
    }

    /// A connection was made: the next that is not starts over.
    pub fn connected(&mut self) {
        self.next_connection = AT_FIRST;
    }

    /// How long to wait before connecting again: 1 s growing to 5 s, less what the failed
    /// attempt took. `None` if there is no time left.
    pub fn connection_pause(&mut self) -> Option<Duration> {
        let spent = self.clock.now().saturating_duration_since(self.attempt);
        let pause = self.next_connection.saturating_sub(spent);
        self.next_connection = (self.next_connection * 2).min(OFTEN);
        self.within_time(pause)
    }

    /// How long to wait before the next post, `left` being those that may still be sent:
    /// the first follows soon, the rest are spread over the time left. `at_once`: a switch
    /// has just ended, so that there is nothing to wait for.
    pub fn post_pause(&mut self, sent: u32, left: u32, at_once: bool) -> Option<Duration> {
        if left == 0 {
            return None;
        }
        let spread = self.left() / (left + 1);
        let pause = match (at_once, sent) {
            (true, _) => Duration::ZERO,
            (false, 0 | 1) => SOON.min(spread),
            (false, _) => spread,
        };
        self.within_time(pause)
    }

    /// The pause, cut so that there is time for a request after it; `None` if there is none.
    fn within_time(&self, pause: Duration) -> Option<Duration> {
        let left = self.left();
        (left > 2 * LEAST).then(|| pause.min(left - 2 * LEAST))
    }
}
