//! When a node was away, and which takeovers it must not have made because of that.

use std::time::{Duration, Instant};

/// `legion-tolerance`, and as long as it takes to notice that it has passed.
const NOTICED: Duration = Duration::from_millis(7500);
/// A node that was away for so long may have been replaced.
const FROZEN: Duration = Duration::from_secs(6);
/// Sooner after its return no peer has voted anew: `legion-freq` is 1 s.
const BEFORE_NEW_VOTES: Duration = Duration::from_millis(900);
/// The log may be read so much later than it is written.
pub const LATE: Duration = Duration::from_secs(1);

/// Spans of time, the last of which may go on.
#[derive(Default)]
pub struct Spans(Vec<(Instant, Option<Instant>)>);

impl Spans {
    /// From now on it is so, or not.
    pub fn set(&mut self, is_so: bool) {
        let now = Instant::now();
        match (self.0.last_mut(), is_so) {
            (Some((_, end @ None)), false) => *end = Some(now),
            (Some((_, None)), true) | (Some((_, Some(_))) | None, false) => {}
            (Some((_, Some(_))) | None, true) => self.0.push((now, None)),
        }
    }

    /// The last one, if it goes on, does not count.
    pub fn forget(&mut self) {
        self.0.retain(|(_, end)| end.is_some());
    }

    /// When the first one began that touches this time.
    pub fn begin_of(&self, from: Instant, until: Instant) -> Option<Instant> {
        let touches = |(begin, end): &&(Instant, Option<Instant>)| {
            *begin <= until && end.is_none_or(|end| end >= from)
        };
        self.0.iter().find(touches).map(|(begin, _)| *begin)
    }

    fn ended(&self) -> impl Iterator<Item = (Instant, Instant)> {
        self.0
            .iter()
            .filter_map(|(begin, end)| Some((*begin, (*end)?)))
    }

    fn touches(&self, from: Instant, until: Instant) -> bool {
        self.begin_of(from, until).is_some()
    }
}

/// When a node was away, and in which way.
#[derive(Default)]
pub struct Absences {
    /// It did not run.
    pub frozen: Spans,
    /// It did not hear its peers.
    pub deaf: Spans,
    /// What it sent to the webservice arrived later.
    pub stalled: Spans,
}

impl Absences {
    /// Why a POST must not have been sent, that came at `post` in a takeover that began at `begun`.
    pub fn forbid(&self, begun: Instant, post: Instant) -> Option<&'static str> {
        // It may have been sent long before it came.
        if self.stalled.touches(begun, post) {
            return None;
        }
        let lasted = |begin: Instant, end: Instant| end.duration_since(begin);
        let was_frozen = self.frozen.ended().any(|(begin, end)| {
            let is_right_after = end <= post && post.duration_since(end) <= BEFORE_NEW_VOTES;
            let is_meanwhile = begun <= begin && end <= post;
            lasted(begin, end) >= FROZEN && (is_right_after || is_meanwhile)
        });
        let was_deaf = self.deaf.ended().any(|(begin, end)| {
            lasted(begin, end) >= NOTICED && begun <= begin + LATE && end <= post
        });
        match (was_frozen, was_deaf) {
            (true, _) => Some("it did not run, and its votes are older than that"),
            (false, true) => Some("it did not hear its peers for long, and its votes are older"),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_span_does_not_hide_the_one_in_question() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let spans = Spans(vec![(at(32), Some(at(53))), (at(54), None)]);
        assert_eq!(spans.begin_of(at(50), at(53)), Some(at(32)));
        assert_eq!(spans.begin_of(at(54), at(55)), Some(at(54)));
        assert_eq!(spans.begin_of(at(20), at(30)), None);
    }

    #[test]
    fn a_takeover_on_old_votes_is_forbidden() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let span = |begin, end| Spans(vec![(at(begin), Some(at(end)))]);
        let frozen = Absences {
            frozen: span(10_000, 17_000),
            ..Absences::default()
        };
        for (begun, post, is_forbidden) in [
            (9_000, 9_500, false),
            (9_000, 17_100, true),
            (9_000, 30_000, true),
            (17_050, 17_100, true),
            (18_500, 18_600, false),
        ] {
            let forbidden = frozen.forbid(at(begun), at(post)).is_some();
            assert_eq!(forbidden, is_forbidden, "{begun} {post}");
        }
        let deaf = Absences {
            deaf: span(10_000, 20_000),
            ..Absences::default()
        };
        assert!(deaf.forbid(at(9_000), at(21_000)).is_some());
        assert!(deaf.forbid(at(9_000), at(12_000)).is_none());
        assert!(deaf.forbid(at(15_000), at(21_000)).is_none());
    }
}
