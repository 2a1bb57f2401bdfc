//! Decides when a Lord checks that the address is still routed to it, and what follows from that.
//!
//! A Lord looks regularly, and after an event in the legion that may have moved the address: as soon as
//! the legion agrees on this node again, and again when a change that may still have been running has ended
//! ([`LateChanges`]). What it does if it finds the address elsewhere depends on why it looked.

use std::fmt;
use std::time::Duration;

use super::lordship::Votes;
use crate::order::WatchAction;
use crate::takeover::{LateChanges, Look, Problem};

/// The next look while a switch is running.
const WHILE_CHANGING: Duration = Duration::from_secs(15);
/// The next look after one that got no answer, if something may have moved the address.
const AFTER_SILENCE: Duration = Duration::from_secs(30);
/// The next look after the requests per hour were used up.
const AFTER_USED_UP: Duration = Duration::from_secs(60);
/// How often at most an address that nobody in the legion has moved is taken back.
const BETWEEN_RETAKES: Duration = Duration::from_secs(600);
/// How often at most the same is logged again.
const BETWEEN_REMINDERS: Duration = Duration::from_secs(3600);

/// Why a look is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Time has passed.
    Routine,
    /// Something in the legion may have moved the address.
    Event,
}

/// What a look found.
#[derive(Debug)]
pub enum Finding {
    Ours,
    /// It is routed to the named server, or to none, according to two looks in a row.
    Elsewhere(Option<String>),
    Changing,
    Unanswered(Problem),
    Unsupported(Problem),
    Refused(Problem),
    /// The requests per hour are used up, so a look was not sent.
    NotSent,
}

impl Finding {
    /// The finding of two looks in a row. The second one is needed only if the first shows another
    /// server, which proves nothing by itself.
    pub fn of(first: Option<Look>, second: impl FnOnce() -> Option<Look>) -> Finding {
        let decisive = match first {
            Some(Look::Elsewhere { .. }) => match second() {
                Some(Look::Elsewhere { to, .. }) => return Finding::Elsewhere(to),
                other => other,
            },
            other => other,
        };
        match decisive {
            None | Some(Look::Elsewhere { .. }) => Finding::NotSent,
            Some(Look::Ours) => Finding::Ours,
            Some(Look::Changing) => Finding::Changing,
            // A takeover may be under way, which the next look sees the end of.
            Some(Look::HalfDone) => Finding::Changing,
            Some(
                Look::Unanswered(problem) | Look::NotConnected(problem) | Look::Failed(problem),
            ) => Finding::Unanswered(problem),
            Some(Look::Unsupported(problem)) => Finding::Unsupported(problem),
            Some(Look::Refused(problem)) => Finding::Refused(problem),
        }
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Nothing,
    /// Worth a line in the log.
    Log(Note),
    /// The node must become Lord again, and so take over again.
    Retake(Note),
}

/// A line for the log, about the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Note {
    BackHere,
    MovedBy {
        whom: Cause,
        to: Option<String>,
        retake: bool,
    },
    NoAnswer(Problem),
    CannotLook(Problem),
    Refused(Problem),
}

impl Note {
    /// Whether somebody has to look after the address.
    pub fn is_alarming(&self) -> bool {
        match self {
            Note::MovedBy { .. } | Note::Refused(_) => true,
            Note::BackHere | Note::NoAnswer(_) | Note::CannotLook(_) => false,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::BackHere => f.write_str("it is routed to this server again"),
            Note::MovedBy { whom, to, retake } => {
                match to {
                    Some(to) => write!(
                        f,
                        "WARNING it is routed to {to}, not to this server, which is Lord; "
                    )?,
                    None => f.write_str(
                        "WARNING it is routed to no server, although this one is Lord; ",
                    )?,
                }
                match (whom, retake) {
                    (Cause::Event, _) => f.write_str(
                        "another node may have taken it over meanwhile: becoming Lord again",
                    ),
                    (Cause::Routine, true) => f.write_str(
                        "no node of the legion did that, so it was moved by hand or by another program; routing it back (watch_action=retake)",
                    ),
                    (Cause::Routine, false) => f.write_str(
                        "no node of the legion did that, so it was moved by hand or by another program; route it back, or restart the Lord",
                    ),
                }
            }
            Note::NoAnswer(problem) => write!(
                f,
                "WARNING could not check whether it is still routed to this server: {problem}"
            ),
            Note::CannotLook(problem) => write!(
                f,
                "WARNING cannot check the route: the endpoint does not support GET: {problem}"
            ),
            Note::Refused(problem) => write!(
                f,
                "ERROR could not check the route; will not retry before the next takeover: {problem}"
            ),
        }
    }
}

/// The looks at one address. Times are since the machine was started.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watch {
    every: Duration,
    action: WatchAction,
    late_changes: LateChanges,
    /// When the next regular look is due. `None` before the first takeover, and after a look that was
    /// refused.
    next: Option<Duration>,
    /// When the next look is due that follows an event or a takeover, for changes that end late.
    late: Option<Duration>,
    /// When all of those have ended.
    late_until: Duration,
    /// Something may have moved the address, and the legion does not agree on this node yet.
    is_event_pending: bool,
    /// A look that was due could not be sent.
    is_postponed: bool,
    /// The endpoint does not support GET.
    is_unsupported: bool,
    is_elsewhere: bool,
    is_unanswered: bool,
    last_retake: Option<Duration>,
    /// Why the node is about to become Lord again.
    retaken_for: Option<Cause>,
    /// What was logged last, and when.
    last_note: Option<(Note, Duration)>,
}

impl Watch {
    pub fn new(every: Duration, action: WatchAction, late_changes: LateChanges) -> Watch {
        Watch {
            every,
            action,
            late_changes,
            next: None,
            late: None,
            late_until: Duration::ZERO,
            is_event_pending: false,
            is_postponed: false,
            is_unsupported: false,
            is_elsewhere: false,
            is_unanswered: false,
            last_retake: None,
            retaken_for: None,
            last_note: None,
        }
    }

    /// A takeover succeeded. `in_doubt`: another node may have begun one as well, so further looks
    /// follow when its change would have ended. `found_here`: the address was routed to this server already,
    /// so such a change may be running, if the provider does not show it.
    pub fn note_takeover(&mut self, now: Duration, in_doubt: bool, found_here: bool) {
        let by_hand = self.retaken_for.take() == Some(Cause::Routine);
        self.is_event_pending = false;
        self.is_postponed = false;
        self.is_elsewhere = false;
        self.is_unanswered = false;
        self.next = Some(now + self.every);
        self.late = None;
        let may_hide = found_here && self.late_changes.are_hidden;
        if (in_doubt || may_hide) && !by_hand {
            self.expect_late_changes(now);
        }
    }

    /// Why a look is due, if one is. Called in each of the master's cycles.
    pub fn due(&mut self, now: Duration, is_lord: bool, votes: Votes) -> Option<Cause> {
        // Otherwise there is nothing to look at, or nothing to look with.
        let next = self.next.filter(|_| is_lord && !self.is_unsupported)?;
        match votes {
            Votes::Agreed => {}
            // A peer follows another Lord, or none yet: the address may have moved.
            Votes::Divided | Votes::Against => {
                self.is_event_pending = true;
                return None;
            }
            Votes::Missing => return None,
        }
        let was_postponed = std::mem::take(&mut self.is_postponed);
        if std::mem::take(&mut self.is_event_pending) {
            self.expect_late_changes(now);
            return Some(Cause::Event);
        }
        if was_postponed {
            return Some(Cause::Event);
        }
        if self.late.is_some_and(|late| late <= now) {
            let again = now + self.late_changes.usual;
            self.late = Some(again).filter(|again| *again <= self.late_until);
            return Some(Cause::Event);
        }
        (next <= now).then_some(Cause::Routine)
    }

    fn expect_late_changes(&mut self, now: Duration) {
        self.late = Some(now + self.late_changes.usual);
        self.late_until = now + self.late_changes.longest;
    }

    /// A look that is due for this cause cannot be sent yet.
    pub fn postpone(&mut self, cause: Cause) {
        if cause == Cause::Event {
            self.is_postponed = true;
        }
    }

    /// The login was refused to another look: no further one before the next takeover.
    pub fn stop(&mut self) {
        self.next = None;
    }

    /// A look was sent, so the next regular one is due later.
    pub fn note_begun(&mut self, now: Duration) {
        self.next = Some(now + self.every);
    }

    /// What follows from what a look found.
    pub fn judge(&mut self, now: Duration, cause: Cause, finding: Finding) -> Verdict {
        let was_unanswered = std::mem::take(&mut self.is_unanswered);
        match finding {
            Finding::Ours => match std::mem::take(&mut self.is_elsewhere) {
                true => self.log(now, Note::BackHere),
                false => Verdict::Nothing,
            },
            Finding::Elsewhere(to) => self.elsewhere(now, cause, to),
            Finding::Changing => {
                self.look_again(now + WHILE_CHANGING, cause);
                Verdict::Nothing
            }
            Finding::NotSent => {
                self.look_again(now + AFTER_USED_UP, cause);
                Verdict::Nothing
            }
            Finding::Unanswered(problem) => {
                if cause == Cause::Event {
                    self.look_again(now + AFTER_SILENCE, cause);
                }
                self.is_unanswered = true;
                match was_unanswered {
                    true => Verdict::Nothing,
                    false => self.log(now, Note::NoAnswer(problem)),
                }
            }
            Finding::Unsupported(problem) => {
                self.is_unsupported = true;
                self.log(now, Note::CannotLook(problem))
            }
            Finding::Refused(problem) => {
                self.next = None;
                self.log(now, Note::Refused(problem))
            }
        }
    }

    fn look_again(&mut self, at: Duration, cause: Cause) {
        match cause {
            Cause::Event => self.late = Some(self.late.map_or(at, |late| late.min(at))),
            Cause::Routine => self.next = Some(at),
        }
    }

    fn elsewhere(&mut self, now: Duration, cause: Cause, to: Option<String>) -> Verdict {
        self.is_elsewhere = true;
        let may_retake = self
            .last_retake
            .is_none_or(|last| now.saturating_sub(last) >= BETWEEN_RETAKES);
        let retake = match (cause, self.action) {
            (Cause::Event, _) => true,
            (Cause::Routine, WatchAction::Retake) => may_retake,
            (Cause::Routine, WatchAction::Warn) => false,
        };
        let note = Note::MovedBy {
            whom: cause,
            to,
            retake,
        };
        if !retake {
            return self.log(now, note);
        }
        if cause == Cause::Routine {
            self.last_retake = Some(now);
        }
        self.retaken_for = Some(cause);
        self.last_note = Some((note.clone(), now));
        Verdict::Retake(note)
    }

    /// Logs a note, unless the last one was the same and is recent.
    fn log(&mut self, now: Duration, note: Note) -> Verdict {
        let is_known = self
            .last_note
            .as_ref()
            .is_some_and(|(last, at)| *last == note && now.saturating_sub(*at) < BETWEEN_REMINDERS);
        if is_known {
            return Verdict::Nothing;
        }
        self.last_note = Some((note.clone(), now));
        Verdict::Log(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{cloud, robot};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watch(action: WatchAction) -> Watch {
        let mut watch = Watch::new(at(300), action, robot::LATE_CHANGES);
        watch.note_takeover(at(1000), true, false);
        watch
    }

    fn problem() -> Problem {
        Problem::new("it is broken")
    }

    fn elsewhere() -> Finding {
        Finding::Elsewhere(Some("2.2.2.2".into()))
    }

    /// The looks of a Lord whose route stays, with these votes in each second.
    fn looks(seconds: std::ops::Range<u64>, votes: impl Fn(u64) -> Votes) -> Vec<(u64, Cause)> {
        let mut watch = watch(WatchAction::Warn);
        let mut looks = Vec::new();
        for second in seconds {
            if let Some(cause) = watch.due(at(second), true, votes(second)) {
                watch.note_begun(at(second));
                assert_eq!(
                    watch.judge(at(second), cause, Finding::Ours),
                    Verdict::Nothing
                );
                looks.push((second, cause));
            }
        }
        looks
    }

    #[test]
    fn a_lord_in_doubt_looks_two_minutes_after_its_takeover_and_then_now_and_then() {
        assert_eq!(
            looks(1000..2100, |_| Votes::Agreed),
            [
                (1120, Cause::Event),
                (1420, Cause::Routine),
                (1720, Cause::Routine),
                (2020, Cause::Routine)
            ]
        );
    }

    #[test]
    fn a_peer_that_follows_another_causes_two_looks_once_the_legion_agrees() {
        let votes = |second| match second {
            1500..1505 => Votes::Divided,
            1505..1508 => Votes::Missing,
            _ => Votes::Agreed,
        };
        assert_eq!(
            looks(1130..1700, votes),
            [
                (1130, Cause::Event),
                (1430, Cause::Routine),
                (1508, Cause::Event),
                (1628, Cause::Event)
            ]
        );
    }

    #[test]
    fn a_takeover_without_doubt_is_not_looked_after() {
        let mut watch = watch(WatchAction::Retake);
        watch.note_takeover(at(2000), false, false);
        assert_eq!(watch.due(at(2299), true, Votes::Agreed), None);
        // Nor is one that routed back what somebody had moved by hand.
        let verdict = watch.judge(at(2300), Cause::Routine, elsewhere());
        assert!(matches!(verdict, Verdict::Retake(_)));
        watch.note_takeover(at(2301), true, false);
        assert_eq!(watch.due(at(2600), true, Votes::Agreed), None);
    }

    /// Another node's action may be running while the Cloud shows the address here.
    #[test]
    fn a_cloud_address_that_a_takeover_found_here_is_looked_after_for_two_minutes() {
        let mut watch = Watch::new(at(300), WatchAction::Warn, cloud::LATE_CHANGES);
        // While an action is running, no other is accepted, so none was running when this one began.
        watch.note_takeover(at(500), false, false);
        assert_eq!(watch.due(at(700), true, Votes::Agreed), None);
        watch.note_takeover(at(1000), false, true);
        let mut looks = Vec::new();
        for second in 1000..1500 {
            if let Some(cause) = watch.due(at(second), true, Votes::Agreed) {
                watch.note_begun(at(second));
                watch.judge(at(second), cause, Finding::Ours);
                looks.push((second, cause));
            }
        }
        let late = [1020, 1040, 1060, 1080, 1100, 1120].map(|second| (second, Cause::Event));
        let routine = (1420, Cause::Routine);
        assert_eq!(looks, [&late[..], &[routine]].concat());
        let verdict = watch.judge(at(1500), Cause::Event, elsewhere());
        assert!(matches!(verdict, Verdict::Retake(_)), "{verdict:?}");
    }

    #[test]
    fn a_look_that_cannot_be_sent_follows_soon_and_delays_no_other() {
        let mut watch = watch(WatchAction::Warn);
        for second in [1120, 1121] {
            assert_eq!(
                watch.due(at(second), true, Votes::Agreed),
                Some(Cause::Event)
            );
            watch.postpone(Cause::Event);
        }
        assert_eq!(watch.due(at(1122), true, Votes::Agreed), Some(Cause::Event));
        watch.note_begun(at(1122));
        for second in 1123..1422 {
            assert_eq!(watch.due(at(second), true, Votes::Agreed), None);
        }
    }

    #[test]
    fn only_a_lord_looks() {
        let mut watch = watch(WatchAction::Warn);
        for second in 1000..3000 {
            assert_eq!(watch.due(at(second), false, Votes::Agreed), None);
        }
        let mut before = Watch::new(at(300), WatchAction::Warn, robot::LATE_CHANGES);
        assert_eq!(before.due(at(3000), true, Votes::Agreed), None);
    }

    #[test]
    fn an_address_found_elsewhere_after_an_event_is_taken_back_each_time() {
        let mut watch = watch(WatchAction::Warn);
        for second in [1010, 1020] {
            let verdict = watch.judge(at(second), Cause::Event, elsewhere());
            assert!(matches!(verdict, Verdict::Retake(_)), "{verdict:?}");
        }
    }

    #[test]
    fn an_address_that_somebody_moved_is_warned_of_once_an_hour() {
        let mut watch = watch(WatchAction::Warn);
        let mut warned = Vec::new();
        for second in (1300..9000).step_by(300) {
            match watch.judge(at(second), Cause::Routine, elsewhere()) {
                Verdict::Log(note) => {
                    assert!(note.to_string().contains("routed to 2.2.2.2"), "{note}");
                    warned.push(second);
                }
                Verdict::Nothing => {}
                Verdict::Retake(note) => panic!("{note}"),
            }
        }
        assert_eq!(warned, [1300, 4900, 8500]);
        let back = watch.judge(at(9000), Cause::Routine, Finding::Ours);
        assert_eq!(back, Verdict::Log(Note::BackHere));
    }

    #[test]
    fn with_retake_it_is_routed_back_once_in_ten_minutes() {
        let mut watch = watch(WatchAction::Retake);
        let retaken: Vec<u64> = (1300..3000)
            .step_by(60)
            .filter(|second| {
                let verdict = watch.judge(at(*second), Cause::Routine, elsewhere());
                matches!(verdict, Verdict::Retake(_))
            })
            .collect();
        assert_eq!(retaken, [1300, 1900, 2500]);
    }

    #[test]
    fn only_two_looks_in_a_row_prove_that_it_is_elsewhere() {
        let look = || Look::Elsewhere {
            to: None,
            settled: false,
        };
        assert!(matches!(
            Finding::of(Some(look()), || Some(look())),
            Finding::Elsewhere(None)
        ));
        let one = Finding::of(Some(look()), || Some(Look::Ours));
        assert!(matches!(one, Finding::Ours));
        let one = Finding::of(Some(look()), || Some(Look::Unanswered(problem())));
        assert!(matches!(one, Finding::Unanswered(_)));
        assert!(matches!(
            Finding::of(Some(look()), || None),
            Finding::NotSent
        ));
    }

    #[test]
    fn a_look_without_answer_is_logged_once_and_repeated_after_an_event() {
        let mut watch = watch(WatchAction::Warn);
        assert_eq!(watch.due(at(1120), true, Votes::Agreed), Some(Cause::Event));
        let verdict = watch.judge(at(1120), Cause::Event, Finding::Unanswered(problem()));
        assert!(matches!(verdict, Verdict::Log(Note::NoAnswer(_))));
        assert_eq!(
            watch.due(at(1149), true, Votes::Agreed),
            Some(Cause::Event).filter(|_| false)
        );
        assert_eq!(watch.due(at(1150), true, Votes::Agreed), Some(Cause::Event));
        let verdict = watch.judge(at(1150), Cause::Event, Finding::Unanswered(problem()));
        assert_eq!(verdict, Verdict::Nothing);
    }

    #[test]
    fn a_refused_look_is_the_last_before_the_next_takeover() {
        let mut watch = watch(WatchAction::Warn);
        let verdict = watch.judge(at(1300), Cause::Routine, Finding::Refused(problem()));
        assert!(matches!(verdict, Verdict::Log(Note::Refused(_))));
        for second in 1300..9000 {
            assert_eq!(watch.due(at(second), true, Votes::Agreed), None);
        }
        watch.note_takeover(at(9000), false, false);
        assert!(watch.due(at(9300), true, Votes::Agreed).is_some());
    }

    #[test]
    fn an_endpoint_without_get_is_looked_at_once() {
        let mut watch = watch(WatchAction::Warn);
        let verdict = watch.judge(at(1300), Cause::Routine, Finding::Unsupported(problem()));
        assert!(matches!(verdict, Verdict::Log(Note::CannotLook(_))));
        watch.note_takeover(at(2000), true, false);
        for second in 2000..9000 {
            assert_eq!(watch.due(at(second), true, Votes::Agreed), None);
        }
    }
}
