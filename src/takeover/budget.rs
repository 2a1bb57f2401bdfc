//! How many requests per hour the takeovers and looks of one account may send.
//!
//! A provider limits the requests per hour. The takeovers and the looks of this process share one
//! count for each account, so that an unstable network cannot use the limit up.

use std::collections::VecDeque;
use std::time::Duration;

/// The span that limits are counted over.
const HOUR: Duration = Duration::from_secs(3600);

/// What a process may send within any hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Changes.
    pub changes: usize,
    /// Looks.
    pub looks: usize,
    /// The first looks within an hour may follow each other at once. The others are spread over the
    /// rest of the hour.
    pub quick_looks: usize,
}

/// The requests of the last hour. It is shared by the threads `takeover` and `look`, behind a mutex.
/// Times are since the machine was started.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    changes: Window,
    looks: Window,
}

impl Budget {
    pub fn new(limits: Limits) -> Budget {
        Budget {
            limits,
            changes: Window::with_capacity(limits.changes),
            looks: Window::with_capacity(limits.looks),
        }
    }

    /// Counts a change that is about to be sent, if no more than `share` of them are to be sent within an
    /// hour. Returns whether it may be sent.
    pub fn take_change(&mut self, now: Duration, share: usize) -> bool {
        let may = self.change_pause(now, share).is_zero();
        if may {
            self.changes.note(now);
        }
        may
    }

    /// A change that was counted then was not sent.
    pub fn give_back_change(&mut self, at: Duration) {
        self.changes.forget(at);
    }

    /// Counts a look that is about to be sent.
    ///
    /// # Errors
    /// It may not be sent yet: how long to wait.
    pub fn take_look(&mut self, now: Duration) -> Result<(), Duration> {
        match self.look_pause(now) {
            Duration::ZERO => {
                self.looks.note(now);
                Ok(())
            }
            pause => Err(pause),
        }
    }

    /// How long to wait until a change may be sent, if no more than `share` of them are to be sent
    /// within an hour. Zero: one may be sent now.
    pub fn change_pause(&mut self, now: Duration, share: usize) -> Duration {
        self.changes.pause(now, self.limits.changes.min(share))
    }

    /// How long to wait until a look may be sent. Zero: one may be sent now.
    pub fn look_pause(&mut self, now: Duration) -> Duration {
        let Limits {
            looks, quick_looks, ..
        } = self.limits;
        let until_free = self.looks.pause(now, looks);
        let used = self.looks.used(now);
        if used < quick_looks || used >= looks {
            return until_free;
        }
        let left = u32::try_from(looks - used).unwrap_or(u32::MAX);
        let spread = self.looks.until_first_expires(now) / left;
        spread.saturating_sub(self.looks.since_last(now))
    }

    /// Whether half of the looks of an hour are left, so that one that can wait does not delay a
    /// takeover.
    pub fn can_spare_look(&mut self, now: Duration) -> bool {
        self.looks.used(now) < self.limits.looks / 2
    }

    /// Counts looks that were sent whatever the limit.
    pub fn note_looks(&mut self, now: Duration, number: u32) {
        for _ in 0..number {
            self.looks.note(now);
        }
    }
}

/// When requests of one kind were sent, the oldest first. It never grows: it contains at most as many
/// as the limit allows.
#[derive(Debug)]
struct Window {
    sent: VecDeque<Duration>,
    capacity: usize,
}

impl Window {
    fn with_capacity(capacity: usize) -> Window {
        Window {
            sent: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    fn expire(&mut self, now: Duration) {
        while self
            .sent
            .front()
            .is_some_and(|sent| now.saturating_sub(*sent) >= HOUR)
        {
            self.sent.pop_front();
        }
    }

    fn used(&mut self, now: Duration) -> usize {
        self.expire(now);
        self.sent.len()
    }

    /// How long until fewer than `limit` are left of the last hour.
    fn pause(&mut self, now: Duration, limit: usize) -> Duration {
        let used = self.used(now);
        match used.checked_sub(limit) {
            None => Duration::ZERO,
            // With a limit of zero, there is no request whose end could be waited for.
            Some(over) => self
                .sent
                .get(over)
                .map_or(HOUR, |sent| (*sent + HOUR).saturating_sub(now)),
        }
    }

    fn until_first_expires(&self, now: Duration) -> Duration {
        self.sent
            .front()
            .map_or(Duration::ZERO, |sent| (*sent + HOUR).saturating_sub(now))
    }

    fn since_last(&self, now: Duration) -> Duration {
        self.sent
            .back()
            .map_or(HOUR, |sent| now.saturating_sub(*sent))
    }

    fn forget(&mut self, at: Duration) {
        if let Some(index) = self.sent.iter().rposition(|sent| *sent == at) {
            self.sent.remove(index);
        }
    }

    fn note(&mut self, now: Duration) {
        self.expire(now);
        if self.sent.len() == self.capacity {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        changes: 48,
        looks: 90,
        quick_looks: 60,
    };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sends as early as is allowed, and returns when.
    fn send_all(
        hours: u64,
        mut pause: impl FnMut(&mut Budget, Duration) -> Duration,
        note: impl Fn(&mut Budget, Duration),
    ) -> Vec<Duration> {
        let mut budget = Budget::new(LIMITS);
        let mut sent = Vec::new();
        let mut now = at(1000);
        while now < at(1000 + hours * 3600) {
            match pause(&mut budget, now) {
                Duration::ZERO => {
                    note(&mut budget, now);
                    sent.push(now);
                    now += at(1);
                }
                pause => now += pause,
            }
        }
        sent
    }

    fn most_within_an_hour(sent: &[Duration]) -> usize {
        let within = |start: &Duration| {
            sent.iter()
                .filter(|sent| (*start..*start + HOUR).contains(*sent))
                .count()
        };
        sent.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn no_hour_has_more_changes_than_the_limit() {
        let sent = send_all(
            5,
            |b, now| b.change_pause(now, usize::MAX),
            |b, now| assert!(b.take_change(now, usize::MAX)),
        );
        assert_eq!(most_within_an_hour(&sent), 48);
    }

    #[test]
    fn a_share_is_a_limit_of_its_own() {
        let take = |budget: &mut Budget, now| assert!(budget.take_change(now, 16));
        let sent = send_all(5, |b, now| b.change_pause(now, 16), take);
        assert_eq!(most_within_an_hour(&sent), 16);
    }

    #[test]
    fn what_was_not_sent_is_not_counted() {
        let mut budget = Budget::new(LIMITS);
        assert!(budget.take_change(at(1), 1));
        assert!(!budget.take_change(at(2), 1));
        budget.give_back_change(at(1));
        assert!(budget.take_change(at(3), 1));
    }

    #[test]
    fn no_hour_has_more_looks_than_the_limit_and_the_last_ones_are_spread() {
        let sent = send_all(5, Budget::look_pause, |b, now| b.note_looks(now, 1));
        assert!(most_within_an_hour(&sent) <= 90);
        assert_eq!(sent[59] - sent[0], at(59), "the first ones follow at once");
        assert!(sent[60] - sent[59] > at(100));
    }

    #[test]
    fn the_longest_wait_for_a_look_is_short() {
        let sent = send_all(5, Budget::look_pause, |b, now| b.note_looks(now, 1));
        let longest = sent.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(at(120)), "{longest:?}");
    }
}
