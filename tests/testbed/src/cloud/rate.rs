//! The request limit: a bucket that regains one request each second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::errors::Refusal;
use crate::http::{Answer, header_line};

pub(super) struct Rate {
    limit: Option<u32>,
    left: u32,
    /// When the last one was regained.
    counted: Instant,
}

impl Rate {
    pub(super) fn new(limit: Option<u32>, now: Instant) -> Rate {
        Rate {
            limit,
            left: limit.unwrap_or_default(),
            counted: now,
        }
    }

    pub(super) fn set_left(&mut self, left: u32, now: Instant) {
        (self.left, self.counted) = (left, now);
    }

    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Answer> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let regained = now.saturating_duration_since(self.counted).as_secs();
        self.counted += Duration::from_secs(regained);
        let regained = u32::try_from(regained).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(regained).min(limit);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Refusal::RateLimitExceeded.answer()),
        }
    }

    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let Some(limit) = self.limit else {
            return Vec::new();
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let full = now.unwrap_or_default().as_secs() + u64::from(limit.saturating_sub(self.left));
        vec![
            header_line("RateLimit-Limit", &limit.to_string()),
            header_line("RateLimit-Remaining", &self.left.to_string()),
            header_line("RateLimit-Reset", &full.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_regained_each_second_up_to_the_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(Some(2), start);
        let mut admitted = |millis| rate.admit(start + Duration::from_millis(millis)).is_ok();
        assert!(admitted(0) && admitted(0) && !admitted(0));
        assert!(!admitted(999) && admitted(1000) && !admitted(1999) && admitted(2000));
        assert!(admitted(60_000) && admitted(60_000) && !admitted(60_000));
    }
}
