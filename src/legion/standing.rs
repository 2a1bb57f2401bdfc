//! How a node stands for election ([`Candidacy`]), and the only place that writes its valor
//! ([`Valor`]).
//!
//! uWSGI's election goes by one number, the valor. After a failed lord hook, uWSGI makes the node
//! fall silent for `legion-death-on-lord-error` seconds, and afterwards the node announces itself as
//! dead forever (core/legion.c, `legions_check_nodes_step2`). A silent node does not vote either, so
//! with one server dead and the next one misconfigured, the healthy third has no quorum. So a node
//! that failed continues to announce itself, but with a low valor, so that others go first.
//!
//! Peers treat a node with another valor as a new one, and keep the old entry until
//! `legion-tolerance` is over. Meanwhile nobody is elected, and no Lord steps down. So there are two
//! ways to change the valor:
//!
//! - *quietly*: a Lord stays Lord while its peers forget the old entry.
//! - *announced*: the node first announces its death with the old valor, and its peers forget the
//!   entry at once. This is for a node that others should replace soon.
//!
//! A node whose configured valor is below 1000 has no room for lower ones, so it can only step back
//! by falling silent, as with uWSGI alone.

use std::fmt;
use std::time::Duration;

use crate::sys;
use crate::uwsgi::{Legion, LegionThread, MainThread, settings};

/// Configured valors from this one on have room for low ones below them.
pub const LEAST_CONFIGURED: u64 = 1000;
/// The largest valor that peers can store (`uwsgi_legion_add_node` takes 16 bits).
pub const MOST: u64 = 65_535;

/// How long a node that failed does not stand at all, so that others can be elected.
const ASIDE: Duration = Duration::from_secs(10);
/// How long after more than one failure in a row.
const ASIDE_AGAIN: Duration = Duration::from_secs(20);
/// How long a node steps back if `legion-death-on-lord-error` is missing.
const DEFAULT_SUSPENSION: Duration = Duration::from_secs(60);
/// The same in seconds, for a node that falls silent.
const DEFAULT_SILENCE: libc::time_t = 60;
/// For this long what uWSGI makes of a failed action is undone.
const UNDO: Duration = Duration::from_secs(4);
/// uWSGI announces nothing for this long after a failed action, in seconds, so that it announces no
/// death of its own.
const SILENCE: libc::time_t = 2;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It votes, but does not stand, because its last takeover failed.
    Voter,
    /// Its last takeover failed, and it stands because no other node does.
    LastResort,
    /// Its application is sick, and it stands with a low valor, for if no healthy node does.
    Sick,
    /// It stands as configured.
    Fit,
    /// It is Lord, and stays Lord when a node with a higher valor returns.
    Holder,
}

/// What a node's standing depends on.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// The time since the machine was started.
    pub now: Duration,
    pub is_lord: bool,
    /// Whether another node stands for election.
    pub has_rival: bool,
    /// Its application is sick.
    pub is_sick: bool,
}

/// Rules that do not change while uWSGI runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The valor in the configuration.
    pub configured: u64,
    /// How long a failed node steps back.
    pub suspension: Duration,
    /// A Lord keeps the lordship when a node with a higher valor comes back.
    pub no_preempt: bool,
    /// For how long a Lord that lost its lordship may win it back as it was.
    pub tolerance: Duration,
}

impl Rules {
    pub fn of(legion: Legion, no_preempt: bool) -> Rules {
        Rules {
            configured: legion.valor(),
            suspension: settings::death_on_lord_error().unwrap_or(DEFAULT_SUSPENSION),
            no_preempt,
            tolerance: settings::tolerance(),
        }
    }

    /// Whether this node's valor may be changed. An arbiter stays one.
    pub fn is_movable(&self) -> bool {
        (LEAST_CONFIGURED..=MOST).contains(&self.configured)
    }
}

/// The last failures of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Failures {
    /// How many in a row.
    count: u32,
    /// When the last one was.
    last: Duration,
    /// The last one: retrying does not help until somebody has fixed something.
    for_good: bool,
    /// The lord hook that failed last.
    hook: FailedHook,
}

/// A lord hook that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailedHook {
    /// One of ours, by where uWSGI keeps its argument.
    Ours(usize),
    /// A command or another plugin's.
    Foreign,
}

/// Decides how a node stands. It has no side effects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidacy {
    rules: Rules,
    failures: Option<Failures>,
    standing: Standing,
    last_lord: Option<Duration>,
}

impl Candidacy {
    pub fn new(rules: Rules) -> Candidacy {
        Candidacy {
            rules,
            failures: None,
            standing: Standing::Fit,
            last_lord: None,
        }
    }

    /// Starts as sick, because the node was not seen healthy yet.
    pub fn begin_sick(&mut self) {
        self.standing = Standing::Sick;
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// A lord hook failed. The node does not stand for a while.
    pub fn note_failure(&mut self, now: Duration, for_good: bool, hook: FailedHook) {
        let count = self.failures.map_or(0, |failures| failures.count) + 1;
        self.failures = Some(Failures {
            count,
            last: now,
            for_good,
            hook,
        });
        self.standing = Standing::Voter;
        self.last_lord = None;
    }

    /// A hook of ours succeeded. It does not make up for another one that failed.
    pub fn note_success(&mut self, place: usize) {
        let is_another = |failures: &Failures| failures.hook != FailedHook::Ours(place);
        self.failures = self.failures.filter(is_another);
    }

    /// The lordship was lost for good.
    pub fn note_lost_lordship(&mut self) {
        self.last_lord = None;
    }

    /// How the node stands from now on. Called in each of the master's cycles.
    pub fn decide(&mut self, seen: Observed) -> Standing {
        if seen.is_lord {
            self.last_lord = Some(seen.now);
        }
        self.failures = self
            .failures
            .filter(|failures| seen.now.saturating_sub(failures.last) < self.rules.suspension);
        let was_lord = self
            .last_lord
            .is_some_and(|last| seen.now.saturating_sub(last) <= self.rules.tolerance);
        self.standing = match self.failures {
            Some(failures) => self.after_failure(failures, seen),
            None if seen.is_sick => Standing::Sick,
            None if self.rules.no_preempt && was_lord => Standing::Holder,
            None => Standing::Fit,
        };
        self.standing
    }

    fn after_failure(&self, failures: Failures, seen: Observed) -> Standing {
        let aside = match failures.count {
            1 => ASIDE,
            _ => ASIDE_AGAIN,
        };
        match seen.now.saturating_sub(failures.last) {
            _ if failures.for_good => Standing::Voter,
            since if since < aside => Standing::Voter,
            // Once it stands, it does until it fails again.
            _ if self.standing == Standing::LastResort || !seen.has_rival => Standing::LastResort,
            _ => Standing::Voter,
        }
    }

    /// The valor for the current standing.
    pub fn valor(&self) -> u64 {
        let order = order(self.rules.configured);
        match self.standing {
            Standing::Voter => 0,
            Standing::LastResort => {
                let count = self.failures.map_or(1, |failures| failures.count.min(5));
                550 - 100 * u64::from(count) + order / 10
            }
            Standing::Sick => 600 + order,
            Standing::Fit => self.rules.configured,
            Standing::Holder => MOST,
        }
    }
}

/// A number below 400 that keeps the order of the usual configured valors: those that differ by
/// hundreds, and those that count down by one.
fn order(configured: u64) -> u64 {
    (configured / 256).min(39) * 10 + configured % 10
}

impl Standing {
    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Voter => "voter",
            Standing::LastResort => "last resort",
            Standing::Sick => "sick",
            Standing::Fit => "fit",
            Standing::Holder => "fit, keeps the lordship",
        }
    }

    /// As a metric has it: 0 for a voter, 1 for a last resort, 2 for a node that is fit.
    pub fn number(self) -> i64 {
        match self {
            Standing::Voter => 0,
            Standing::LastResort | Standing::Sick => 1,
            Standing::Fit | Standing::Holder => 2,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Voter => "stepping back: this node votes, but does not stand for election",
            Standing::LastResort => {
                "standing for election again, because no other node does"
            }
            Standing::Sick => {
                "stepping back while sick: this node stands for election only if no healthy node does"
            }
            Standing::Fit => "back to normal: this node stands for election with its configured valor",
            Standing::Holder => "this node stays Lord even if a node with a higher valor returns (hetzner-nopreempt)",
        })
    }
}

/// Writes a node's valor, and undoes uWSGI's reaction to a failed action.
#[derive(Debug)]
pub struct Valor {
    written: u64,
    /// An announced change that is under way.
    pending: Option<Pending>,
    /// An action has failed, and uWSGI's reaction must be undone.
    failed: Option<FailedAction>,
}

/// A lord action that failed. uWSGI calls the other lord hooks first, and then reacts: it marks the node
/// dead and suspends it, or makes it Lord anyway.
#[derive(Debug, Clone, Copy)]
struct FailedAction {
    at: Duration,
    hook: FailedHook,
    /// When the first of uWSGI's conclusions was undone.
    undone: Option<Duration>,
    /// The same hook has succeeded since, in a later election.
    is_past: bool,
}

impl FailedAction {
    fn new(at: Duration, hook: FailedHook) -> FailedAction {
        FailedAction {
            at,
            hook,
            undone: None,
            is_past: false,
        }
    }
}

#[derive(Debug)]
struct Pending {
    target: u64,
    since: Duration,
    /// The death has been announced.
    is_announced: bool,
}

impl Valor {
    pub fn new(legion: Legion) -> Valor {
        Valor {
            written: legion.valor(),
            pending: None,
            failed: None,
        }
    }

    /// The valor at the start, before anybody knows of the node.
    pub fn begin_with(&mut self, legion: Legion, valor: u64) {
        legion.set_valor(valor);
        self.written = valor;
    }

    /// Steps back within a failed lord action: announces the death with the old valor, and then
    /// goes on as a voter. What uWSGI announces after the action is suppressed.
    pub fn step_back(
        &mut self,
        legion: Legion,
        thread: &LegionThread,
        now: Duration,
        place: usize,
    ) {
        legion.set_dead(true);
        legion.announce(thread);
        legion.set_valor(0);
        self.written = 0;
        self.pending = None;
        legion.set_dead(false);
        self.note_failed_action(legion, now, place);
    }

    /// A lord action returns an error. uWSGI then marks the node dead and suspends it, or makes it
    /// Lord all the same; both will be undone.
    pub fn note_failed_action(&mut self, legion: Legion, now: Duration, place: usize) {
        silence(legion);
        self.failed = Some(FailedAction::new(now, FailedHook::Ours(place)));
    }

    /// Another lord action of the same election has ended. uWSGI has not drawn its conclusions yet,
    /// but the takeover's announcements look as if it had.
    pub fn note_end_of_action(&mut self, legion: Legion) {
        if self.is_within_failure() {
            silence(legion);
        }
    }

    /// A lord action succeeded, so the election in which it failed is long over.
    pub fn note_success(&mut self, place: usize) {
        if let Some(failed) = &mut self.failed {
            failed.is_past |= failed.hook == FailedHook::Ours(place);
        }
    }

    /// Undoes what uWSGI makes of a failed action. Returns whether that has begun just now.
    /// `is_acting`: a lord action of ours is running.
    pub fn undo_suspension(
        &mut self,
        legion: Legion,
        _: &MainThread,
        now: Duration,
        is_acting: bool,
    ) -> bool {
        let Some(failed) = &mut self.failed else {
            return false;
        };
        let is_lord = legion.is_lord() && !failed.is_past;
        let is_dead = legion.is_dead();
        if is_lord {
            legion.forget_lordship();
        }
        // Before uWSGI's conclusions, the silence keeps it from announcing a death.
        let has_begun = is_lord || is_dead || failed.undone.is_some();
        if has_begun && (is_dead || legion.is_suspended()) {
            legion.set_dead(false);
            legion.set_suspended_until(0);
        }
        match failed.undone {
            _ if failed.is_past => self.failed = None,
            None if has_begun => {
                failed.undone = Some(now);
                return true;
            }
            // uWSGI has made it Lord and taken that back between two cycles: it does so at once if
            // the node is alone. It announces the node when it has called all hooks.
            None if !is_acting && legion.suspended_until() == 0 => {
                failed.undone = Some(now);
                return true;
            }
            // uWSGI may still be reacting, so once is not enough.
            Some(undone) if now.saturating_sub(undone) >= UNDO => self.failed = None,
            Some(_) | None => {}
        }
        false
    }

    /// Whether an action has failed and uWSGI has not reacted yet.
    pub fn is_within_failure(&self) -> bool {
        let is_within = |failed: FailedAction| failed.undone.is_none() && !failed.is_past;
        self.failed.is_some_and(is_within)
    }

    /// Makes a voter of a node that uWSGI has suspended because of a lord hook that is not ours.
    /// Its death has been announced. Returns whether it was suspended so.
    pub fn undo_foreign_suspension(
        &mut self,
        legion: Legion,
        _: &MainThread,
        now: Duration,
    ) -> bool {
        let is_foreign = self.failed.is_none() && self.pending.is_none();
        if !is_foreign || !legion.is_dead() || !legion.is_suspended() {
            return false;
        }
        legion.set_valor(0);
        self.written = 0;
        legion.set_dead(false);
        legion.set_suspended_until(0);
        self.failed = Some(FailedAction {
            undone: Some(now),
            ..FailedAction::new(now, FailedHook::Foreign)
        });
        true
    }

    /// Makes `target` the node's valor: at once, or `announced` over the next cycles (`advance`), so
    /// that others replace the node soon.
    pub fn set(
        &mut self,
        legion: Legion,
        _: &MainThread,
        target: u64,
        announced: bool,
        now: Duration,
    ) {
        if self
            .pending
            .as_ref()
            .map_or(self.written, |pending| pending.target)
            == target
        {
            return;
        }
        if !announced {
            if self.pending.take().is_some() {
                legion.set_dead(false);
            }
            legion.set_valor(target);
            self.written = target;
            return;
        }
        legion.set_dead(true);
        // uWSGI sets this to 0 when it announces (`uwsgi_legion_announce`), so it shows that it has.
        legion.set_suspended_until(1);
        self.pending = Some(Pending {
            target,
            since: now,
            is_announced: false,
        });
    }

    /// Continues an announced change. Called in each of the master's cycles.
    pub fn advance(&mut self, legion: Legion, _: &MainThread, now: Duration) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let patience = 3 * settings::announce_interval() + Duration::from_secs(3);
        if !pending.is_announced && now.saturating_sub(pending.since) < patience {
            // uWSGI sends the announcement right after setting it, so the rest waits for the next cycle.
            pending.is_announced = legion.suspended_until() == 0;
            return;
        }
        legion.set_valor(pending.target);
        self.written = pending.target;
        legion.set_dead(false);
        self.pending = None;
    }

    /// Makes sure that a node that falls silent after a failure comes back, because uWSGI never clears
    /// its dead mark. Clears it while the node is suspended, and so announces nothing. Returns whether
    /// the mark was set.
    pub fn revive_suspended(&mut self, legion: Legion, _: &MainThread, now: Duration) -> bool {
        if self.failed.is_some() && legion.is_lord() {
            legion.forget_lordship();
        }
        let has_failed = self
            .failed
            .is_some_and(|failed| now.saturating_sub(failed.at) >= UNDO);
        let revived = (legion.is_suspended() || has_failed) && legion.is_dead();
        if revived {
            legion.set_dead(false);
        }
        if has_failed {
            self.failed = None;
        }
        revived
    }

    /// The same node is to fall silent as uWSGI does it, or as uWSGI would if it were told to.
    pub fn fall_silent(
        &mut self,
        legion: Legion,
        thread: &LegionThread,
        now: Duration,
        place: usize,
    ) {
        if settings::death_on_lord_error().is_none() {
            legion.set_dead(true);
            legion.announce(thread);
            legion.set_suspended_until(sys::unix_time() + DEFAULT_SILENCE);
        }
        self.failed = Some(FailedAction::new(now, FailedHook::Ours(place)));
    }
}

/// Suppresses what uWSGI announces right after a failed action.
fn silence(legion: Legion) {
    legion.set_suspended_until(sys::unix_time() + SILENCE);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        configured: 9999,
        suspension: Duration::from_secs(300),
        no_preempt: false,
        tolerance: Duration::from_secs(5),
    };

    const HOOK: FailedHook = FailedHook::Ours(1);

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn seen(second: u64) -> Observed {
        Observed {
            now: at(second),
            is_lord: false,
            has_rival: true,
            is_sick: false,
        }
    }

    fn alone(second: u64) -> Observed {
        Observed {
            has_rival: false,
            ..seen(second)
        }
    }

    #[test]
    fn a_node_is_fit_as_a_rule() {
        let mut candidacy = Candidacy::new(RULES);
        assert_eq!(candidacy.decide(seen(1)), Standing::Fit);
        assert_eq!(candidacy.valor(), 9999);
    }

    #[test]
    fn a_node_that_failed_for_good_votes_until_the_suspension_is_over() {
        let mut candidacy = Candidacy::new(RULES);
        candidacy.note_failure(at(100), true, HOOK);
        for second in 100..400 {
            assert_eq!(candidacy.decide(alone(second)), Standing::Voter, "{second}");
            assert_eq!(candidacy.valor(), 0);
        }
        assert_eq!(candidacy.decide(alone(400)), Standing::Fit);
    }

    #[test]
    fn a_node_that_failed_stands_again_when_nobody_else_does() {
        let mut candidacy = Candidacy::new(RULES);
        candidacy.note_failure(at(100), false, HOOK);
        assert_eq!(candidacy.decide(alone(109)), Standing::Voter);
        assert_eq!(candidacy.decide(seen(110)), Standing::Voter);
        assert_eq!(candidacy.decide(alone(111)), Standing::LastResort);
        assert_eq!(
            candidacy.decide(seen(112)),
            Standing::LastResort,
            "it stays so"
        );
        let first = candidacy.valor();
        assert!((1..LEAST_CONFIGURED).contains(&first), "{first}");
        // Lower with each failure in a row, so that others go first.
        candidacy.note_failure(at(120), false, HOOK);
        assert_eq!(candidacy.decide(alone(139)), Standing::Voter);
        assert_eq!(candidacy.decide(alone(140)), Standing::LastResort);
        assert!((1..first).contains(&candidacy.valor()));
        for second in 141..420 {
            assert_eq!(candidacy.decide(seen(second)), Standing::LastResort);
        }
        assert_eq!(candidacy.decide(seen(420)), Standing::Fit);
    }

    #[test]
    fn a_takeover_that_succeeds_makes_it_fit() {
        let mut candidacy = Candidacy::new(RULES);
        candidacy.note_failure(at(100), false, HOOK);
        candidacy.note_success(1);
        assert_eq!(candidacy.decide(seen(101)), Standing::Fit);
    }

    #[test]
    fn a_hook_that_succeeds_does_not_make_up_for_another() {
        let mut candidacy = Candidacy::new(RULES);
        for hook in [HOOK, FailedHook::Foreign] {
            candidacy.note_failure(at(100), false, hook);
            // However long after that: the hooks between them may take their time.
            candidacy.note_success(2);
            assert_eq!(candidacy.decide(seen(109)), Standing::Voter, "{hook:?}");
        }
    }

    #[test]
    fn a_sick_node_comes_after_fit_ones_and_before_those_that_failed() {
        let mut sick = Candidacy::new(RULES);
        let is_sick = Observed {
            is_sick: true,
            ..seen(1)
        };
        assert_eq!(sick.decide(is_sick), Standing::Sick);
        let mut failed = Candidacy::new(RULES);
        failed.note_failure(at(1), false, HOOK);
        failed.decide(alone(50));
        assert!(failed.valor() < sick.valor() && sick.valor() < LEAST_CONFIGURED);
    }

    #[test]
    fn low_valors_keep_the_order_of_the_configured_ones() {
        let low = |configured| {
            let mut candidacy = Candidacy::new(Rules {
                configured,
                ..RULES
            });
            let is_sick = Observed {
                is_sick: true,
                ..seen(1)
            };
            candidacy.decide(is_sick);
            candidacy.valor()
        };
        for configured in [
            [9999, 9998, 9997],
            [5000, 4000, 3000],
            [9000, 8000, 1000],
            [1003, 1002, 1001],
            [65_535, 9001, 1000],
        ] {
            let lows = configured.map(low);
            assert!(
                lows.is_sorted_by(|one, other| one > other),
                "{configured:?}: {lows:?}"
            );
            assert!(lows.iter().all(|low| (1..LEAST_CONFIGURED).contains(low)));
        }
    }

    #[test]
    fn a_lord_that_nobody_is_to_replace_keeps_its_lordship_over_a_short_loss() {
        let mut candidacy = Candidacy::new(Rules {
            no_preempt: true,
            ..RULES
        });
        let lord = |second| Observed {
            is_lord: true,
            ..seen(second)
        };
        assert_eq!(candidacy.decide(seen(1)), Standing::Fit);
        assert_eq!(candidacy.decide(lord(2)), Standing::Holder);
        assert_eq!(candidacy.valor(), MOST);
        assert_eq!(candidacy.decide(seen(7)), Standing::Holder);
        assert_eq!(candidacy.decide(seen(8)), Standing::Fit);
        candidacy.decide(lord(9));
        candidacy.note_lost_lordship();
        assert_eq!(candidacy.decide(seen(10)), Standing::Fit);
        let sick = Observed {
            is_sick: true,
            ..lord(11)
        };
        assert_eq!(candidacy.decide(sick), Standing::Sick);
    }

    #[test]
    fn only_valors_with_room_below_them_are_moved() {
        for (configured, is_movable) in [
            (0, false),
            (1, false),
            (999, false),
            (1000, true),
            (65_535, true),
        ] {
            assert_eq!(
                Rules {
                    configured,
                    ..RULES
                }
                .is_movable(),
                is_movable
            );
        }
    }
}
