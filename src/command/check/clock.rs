//! This host's clock, compared with a webservice's.

use std::time::Duration;

use crate::command::report::{Level, Topic};
use crate::sys;
use crate::uwsgi::settings::skew_tolerance;

/// Compares this host's clock with a webservice's `date`, in seconds since 1970.
pub fn compare(date: i64) -> (Topic, Level, String) {
    judge(sys::unix_time() - date, skew_tolerance())
}

/// uWSGI refuses what a peer has sent whose clock is more than `tolerance` behind (core/legion.c,
/// `legion_loop`). Another node may be off in the other direction, so half of it is too much.
fn judge(ahead: i64, tolerance: Duration) -> (Topic, Level, String) {
    let direction = match ahead {
        ..0 => "behind",
        0.. => "ahead of",
    };
    let (seconds, tolerated) = (ahead.unsigned_abs(), tolerance.as_secs());
    // A date has no fractions of a second, and the answer took some time.
    let (level, text) = match seconds {
        ..=1 => (
            Level::Ok,
            "this host's clock agrees with the webservice's".into(),
        ),
        _ if seconds * 2 <= tolerated => (
            Level::Ok,
            format!("this host's clock is {seconds} s {direction} the webservice's"),
        ),
        _ => (
            Level::Warning,
            format!(
                "this host's clock is {seconds} s {direction} the webservice's: if another node is as \
                 far off the other way, the two differ by more than legion-skew-tolerance \
                 ({tolerated} s) and do not hear each other; synchronize it"
            ),
        ),
    };
    (Topic::Clock, level, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_tolerated_is_too_much() {
        for (ahead, level) in [
            (0, Level::Ok),
            (1, Level::Ok),
            (-30, Level::Ok),
            (31, Level::Warning),
            (-3600, Level::Warning),
        ] {
            let (_, found, text) = judge(ahead, Duration::from_secs(60));
            assert_eq!(found, level, "{ahead}");
            assert_eq!(text.contains("behind"), ahead < -1, "{text}");
        }
    }
}
