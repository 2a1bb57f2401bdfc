//! The procedure of a takeover, over a [`Provider`] and a [`Clock`]. It does no I/O of its own.
//!
//! Request the change, and trust only an answer that says that the address is routed to this server.
//! A change takes a while (up to 110 s), and meanwhile a look still shows the old server, so look until
//! the address is ours. A failure that may be temporary is retried, with a few changes that are spread
//! over the deadline as the provider's [`Tempo`] says. Nothing outlives the deadline.
//!
//! All of this runs on the thread `takeover`, and only [`look_once`] on the thread `look`.

mod budget;
mod gate;
mod outcome;
mod pace;
mod problem;
mod provider;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use budget::{Budget, Limits};
pub use gate::{First, Gate};
use outcome::whereabouts;
pub use outcome::{Failure, Outcome, Report, Seen};
use pace::Pace;
pub use pace::{Bounds, Clock};
pub use problem::Problem;
pub use provider::{Change, LateChanges, Look, Provider, Tempo};

/// Where several takeovers share the looks of an hour, one that may be left out is waited for no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A takeover without any connection for this long fails.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(15);

/// What a takeover needs from its surroundings.
pub struct Surroundings<'a> {
    pub clock: &'a mut dyn Clock,
    /// The requests that this process has sent for the same account.
    pub budget: &'a Mutex<Budget>,
    /// Whether the election that this takeover follows is still valid. Checked before each change.
    pub is_elected: &'a dyn Fn() -> bool,
    /// Logs a line: each wait and each retry, with its reason.
    pub log: &'a mut dyn FnMut(String),
}

/// Routes the address to this server. Blocks until that has succeeded or failed, at the latest until
/// the deadline.
pub fn take_over(bounds: Bounds, provider: &mut dyn Provider, around: Surroundings) -> Report {
    let tempo = provider.tempo();
    let mut takeover = Takeover {
        provider,
        pace: Pace::new(bounds, tempo, around.clock),
        max_changes: tempo.changes,
        budget: around.budget,
        is_elected: around.is_elected,
        log: around.log,
        changes: 0,
        unconnected_since: None,
        reason: String::new(),
        seen: None,
        accepted: None,
    };
    let outcome = takeover.run();
    if let (Outcome::Routed, Some(remark)) = (&outcome, takeover.provider.remark()) {
        takeover.log_line(format!("WARNING {remark}"));
    }
    Report {
        outcome,
        elapsed: takeover.pace.elapsed(),
        requests: takeover.provider.requests(),
        changes: takeover.changes,
        steps: takeover.provider.steps(),
    }
}

/// Looks once, outside of a takeover. `None` if the budget allows no request now. A look that is
/// `urgent` may use up what is left for an hour; others leave half of it.
pub fn look_once(
    provider: &mut dyn Provider,
    within: Duration,
    budget: &Mutex<Budget>,
    uptime: Duration,
    urgent: bool,
) -> Option<Look> {
    {
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        let may_look = urgent || budget.can_spare_look(uptime);
        if !may_look || budget.take_look(uptime).is_err() {
            return None;
        }
    }
    let before = provider.requests();
    let look = provider.look(within);
    let further = provider.requests().saturating_sub(before + 1);
    let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
    budget.note_looks(uptime, further);
    Some(look)
}

struct Takeover<'a> {
    provider: &'a mut dyn Provider,
    pace: Pace<'a>,
    /// How many changes this takeover sends at most.
    max_changes: u32,
    budget: &'a Mutex<Budget>,
    is_elected: &'a dyn Fn() -> bool,
    log: &'a mut dyn FnMut(String),
    /// Changes that were sent, or may have been.
    changes: u32,
    /// When the first attempt began in the current series of failed attempts to connect.
    unconnected_since: Option<Instant>,
    /// Why the takeover is not done yet, for the log.
    reason: String,
    /// Where the address was last seen, if not on this server.
    seen: Option<Seen>,
    /// Set while the last change counts as accepted: no later answer has contradicted it. Contains
    /// why it could not be confirmed.
    accepted: Option<Problem>,
}

/// The next step of a takeover.
enum Next {
    LookFirst,
    /// Send a change now.
    Change,
    /// A change is running, or may be.
    WaitForChange,
    /// The last request failed, and may succeed later.
    Recover,
    End(Outcome),
}

/// Why no look was sent.
enum NoLook {
    OutOfTime,
    /// A change is due first.
    Due,
}

impl Takeover<'_> {
    fn run(&mut self) -> Outcome {
        let looks_first = self.pace.bounds().look_first || self.provider.tempo().looks_first;
        let mut next = match looks_first {
            true => Next::LookFirst,
            false => Next::Change,
        };
        loop {
            next = match next {
                Next::LookFirst => self.look_first(),
                Next::Change => self.change(),
                Next::WaitForChange => self.wait_for_change(),
                Next::Recover => self.recover(),
                Next::End(Outcome::Routed) => return self.confirm_election(),
                Next::End(outcome) => return outcome,
            };
        }
    }

    /// The address is here. If this node stood still or was isolated since, another one may have taken it
    /// meanwhile.
    fn confirm_election(&mut self) -> Outcome {
        if (self.is_elected)() {
            return Outcome::Routed;
        }
        match self.look() {
            Some(Look::Elsewhere { .. } | Look::Changing) => Outcome::Outdated,
            _ => Outcome::Routed,
        }
    }

    /// This process has taken the address over before, or has tried to, so it may be here already.
    /// Where several addresses share the looks of an hour, and none is left, a change tells as well.
    fn look_first(&mut self) -> Next {
        let Bounds {
            cautious, sharing, ..
        } = *self.pace.bounds();
        let now = self.pace.uptime();
        let pause = self.budget().look_pause(now);
        if sharing > 1 && !cautious && pause > LONGEST_PAUSE && self.can_change() {
            return Next::Change;
        }
        match self.look() {
            None => self.end_out_of_time(),
            Some(Look::Ours) => Next::End(Outcome::Routed),
            Some(Look::Refused(problem)) => refused(problem),
            Some(Look::Changing) => {
                self.note_changing();
                Next::WaitForChange
            }
            Some(Look::Elsewhere { to, .. }) => {
                self.note_elsewhere(to);
                Next::Change
            }
            Some(Look::HalfDone) => Next::Change,
            Some(Look::Unsupported(problem) | Look::Failed(problem)) => {
                self.reason = problem.to_string();
                Next::Change
            }
            Some(Look::Unanswered(problem)) => {
                self.reason = problem.to_string();
                match self.pace.bounds().cautious || self.provider.tempo().looks_first {
                    true => {
                        self.log_line(format!("{problem}; looking again until there is an answer"));
                        let wait = self.pace.probe_wait();
                        self.pace.sleep(wait);
                        Next::Recover
                    }
                    false => Next::Change,
                }
            }
            Some(Look::NotConnected(problem)) => self.wait_for_connection(problem),
        }
    }

    fn change(&mut self) -> Next {
        // Half done, the provider decides: if nobody has the address, only going on helps.
        if !self.provider.is_half_done() && !(self.is_elected)() {
            return Next::End(Outcome::Outdated);
        }
        if !self.pace.has_time() {
            return self.end_out_of_time();
        }
        let now = self.pace.uptime();
        if !self.take_change(now) {
            if self.reason.is_empty() {
                self.reason = "this process has reached its limit of POST requests per hour".into();
            }
            return Next::WaitForChange;
        }
        self.accepted = None;
        let within = self.pace.begin_change();
        let answer = self.provider.change(within, self.is_elected);
        match answer {
            Change::NotConnected(_) | Change::Outdated | Change::Found => {
                self.budget().give_back_change(now);
            }
            Change::Unready(_) => {
                self.budget().give_back_change(now);
                self.unconnected_since = None;
            }
            _ => self.note_change(),
        }
        match answer {
            Change::Done | Change::Found => Next::End(Outcome::Routed),
            Change::Outdated => Next::End(Outcome::Outdated),
            Change::Refused(problem) => refused(problem),
            Change::Limited(problem) => self.end_limited(problem),
            Change::Running(problem) => {
                self.reason = problem.to_string();
                Next::WaitForChange
            }
            Change::Accepted(problem) => {
                self.reason = problem.to_string();
                self.accepted = Some(problem);
                Next::WaitForChange
            }
            Change::Failing(problem) => {
                self.reason = problem.to_string();
                Next::Recover
            }
            Change::Unready(problem) => {
                self.log_line(format!("{problem}; trying again"));
                self.reason = problem.to_string();
                let wait = self.pace.probe_wait();
                self.pace.sleep(wait);
                Next::Recover
            }
            Change::NotConnected(problem) => self.wait_for_connection(problem),
        }
    }

    fn note_change(&mut self) {
        self.pace.note_change();
        self.unconnected_since = None;
        self.changes += 1;
    }

    /// Looks until the address is ours, the change has ended without that, or time is up.
    ///
    /// Without a `status`, a look that shows another server proves nothing, because a change may be
    /// running. Then only another change can tell, which is refused while one is running. So it is
    /// sent when it is `due`, unless a look has shown that a change is running.
    fn wait_for_change(&mut self) -> Next {
        let mut has_logged = false;
        let mut is_changing = false;
        let due = self
            .pace
            .due_while_running(self.changes, self.max_changes - self.changes);
        self.pace.restart_looks();
        loop {
            let mut may_be_over = true;
            let mut least_wait = Duration::ZERO;
            let was_changing = is_changing;
            let by = (!is_changing && self.may_change_again()).then_some(due);
            let waiting = match self.look_by(by) {
                Err(NoLook::OutOfTime) => return self.end_out_of_time(),
                Err(NoLook::Due) => return self.change_after(Duration::ZERO),
                Ok(Look::Ours) => return Next::End(Outcome::Routed),
                Ok(Look::Refused(problem)) => return refused(problem),
                Ok(Look::Changing) => {
                    self.note_changing();
                    may_be_over = false;
                    "a switch is running, waiting for it to finish".into()
                }
                Ok(Look::Elsewhere { to, settled: true }) => {
                    self.note_elsewhere(to);
                    if self.can_change() {
                        return self.change_after(self.pace.soon(self.max_changes - self.changes));
                    }
                    "no POST requests left; still waiting".into()
                }
                Ok(Look::Elsewhere { to, settled: false }) => {
                    self.note_elsewhere(to);
                    "a switch may be running, waiting for it to finish".into()
                }
                Ok(Look::HalfDone) => return Next::Change,
                Ok(Look::Failed(problem)) => {
                    self.reason = problem.to_string();
                    return Next::Recover;
                }
                Ok(Look::Unsupported(problem)) => {
                    if self.accepted.is_some() {
                        return Next::End(Outcome::Unconfirmed(problem));
                    }
                    format!("a switch may be running, waiting for it to finish: {problem}")
                }
                Ok(Look::Unanswered(problem) | Look::NotConnected(problem)) => {
                    // What was seen before still holds.
                    may_be_over = !was_changing;
                    if self.provider.tempo().looks_first {
                        least_wait = self.provider.tempo().soon;
                    }
                    let waiting = match self.accepted {
                        Some(_) => format!("accepted but not yet confirmed: {problem}"),
                        None => {
                            format!("could not check where it is routed; will retry: {problem}")
                        }
                    };
                    self.accepted = self.accepted.take().map(|_| problem);
                    waiting
                }
            };
            if !has_logged {
                self.log_waiting(&waiting);
                has_logged = true;
            }
            is_changing = !may_be_over;
            may_be_over &= self.may_change_again();
            let until_due = due.saturating_duration_since(self.pace.now());
            if may_be_over && until_due.is_zero() {
                return self.change_after(least_wait);
            }
            let wait = self.pace.look_wait();
            let wait = match may_be_over {
                true => wait.min(until_due),
                false => wait,
            };
            self.pace.sleep(wait.max(least_wait));
        }
    }

    fn log_waiting(&mut self, waiting: &str) {
        let line = match self.reason.as_str() {
            "" => waiting.to_string(),
            reason => format!("{reason}; {waiting}"),
        };
        self.log_line(line);
    }

    /// The last request failed. Finds out what it did, and tries again later: the second change
    /// follows soon, and the others are spread over the time left. If looks got no answer, the next
    /// change follows soon after the first one that does.
    fn recover(&mut self) -> Next {
        // Without a change yet, it is a look that has failed.
        let mut was_unanswered = self.changes == 0;
        let mut due = None;
        if self.changes <= 1 {
            self.pace.restart_looks();
        }
        loop {
            match self.look_by(due) {
                Err(NoLook::OutOfTime) => return self.end_out_of_time(),
                Err(NoLook::Due) => return Next::Change,
                Ok(Look::Ours) => return Next::End(Outcome::Routed),
                Ok(Look::Refused(problem)) => return refused(problem),
                Ok(Look::Changing) => {
                    self.note_changing();
                    return Next::WaitForChange;
                }
                Ok(Look::Elsewhere { to, .. }) => {
                    self.note_elsewhere(to);
                    if was_unanswered && self.can_change() {
                        let soon = self.pace.soon(self.max_changes - self.changes);
                        return self.change_after(soon);
                    }
                    if self.can_change() {
                        return self.change_after(self.recovery_wait());
                    }
                }
                Ok(Look::HalfDone) => return Next::Change,
                Ok(Look::Failed(problem)) => self.reason = problem.to_string(),
                Ok(Look::Unsupported(_)) => {
                    if self.can_change() {
                        return self.change_after(self.recovery_wait());
                    }
                }
                Ok(Look::NotConnected(problem))
                    if self.unconnected_for() >= CONNECTION_PATIENCE =>
                {
                    return self.wait_for_connection(problem);
                }
                Ok(Look::Unanswered(problem) | Look::NotConnected(problem)) => {
                    if self.changes == 0 {
                        self.reason = problem.to_string();
                    }
                    // The wait before the next change counts from the first look without answer.
                    if due.is_none() && self.can_change() && !self.pace.bounds().cautious {
                        let wait = self.recovery_wait();
                        self.log_next_change(wait);
                        due = Some(self.pace.now() + wait);
                    }
                    was_unanswered = true;
                }
            }
            let wait = self.pace.probe_wait();
            let until_due = due.map(|due| due.saturating_duration_since(self.pace.now()));
            match until_due {
                Some(until_due) if until_due <= wait => {
                    self.pace.sleep(until_due);
                    return Next::Change;
                }
                Some(_) | None => self.pace.sleep(wait),
            }
        }
    }

    fn recovery_wait(&self) -> Duration {
        let left = self.max_changes - self.changes;
        match self.changes {
            0 | 1 => self.pace.soon(left),
            _ => self.pace.spread(left),
        }
    }

    /// Logs that the next change follows, and waits for it.
    fn change_after(&mut self, wait: Duration) -> Next {
        self.log_next_change(wait);
        self.pace.sleep(wait);
        Next::Change
    }

    fn log_next_change(&mut self, wait: Duration) {
        let when = match wait < SHOWN {
            true => "now".into(),
            false => format!("in {}", Seconds(wait)),
        };
        let line = format!(
            "{}{}; sending request {} of {} to route it {when}",
            self.reason,
            whereabouts(&self.seen),
            self.changes + 1,
            self.max_changes,
        );
        self.log_line(line);
    }

    /// Waits before another attempt to connect. Fails after 15 s without a connection, because another
    /// node may have one.
    fn wait_for_connection(&mut self, problem: Problem) -> Next {
        self.reason = problem.to_string();
        let after = self.unconnected_for();
        if after >= CONNECTION_PATIENCE {
            return Next::End(Outcome::Failed(Failure::NoConnection { problem, after }));
        }
        if !self.pace.has_time() {
            return self.end_out_of_time();
        }
        // The last attempt comes when the patience ends.
        let wait = self.pace.connection_wait().min(CONNECTION_PATIENCE - after);
        self.log_line(match wait < SHOWN {
            true => format!("{problem}; trying again"),
            false => format!("{problem}; trying again in {}", Seconds(wait)),
        });
        self.pace.sleep(wait);
        // After a failed takeover, no change is sent before a look was answered.
        match self.pace.bounds().cautious && self.changes == 0 {
            true => Next::LookFirst,
            false => Next::Change,
        }
    }

    /// An attempt to connect has just failed. Returns for how long there was no connection; that does
    /// not count while the address is on no server.
    fn unconnected_for(&mut self) -> Duration {
        if self.provider.is_half_done() {
            return Duration::ZERO;
        }
        let since = *self
            .unconnected_since
            .get_or_insert(self.pace.last_attempt());
        self.pace.now().saturating_duration_since(since)
    }

    /// Sends a look, as soon as the budget allows one. `None` if there is no time left for it.
    fn look(&mut self) -> Option<Look> {
        self.look_by(None).ok()
    }

    /// The same, unless a change is due before the budget allows a look.
    fn look_by(&mut self, due: Option<Instant>) -> Result<Look, NoLook> {
        let now = loop {
            if !self.pace.has_time() {
                return Err(NoLook::OutOfTime);
            }
            let now = self.pace.uptime();
            let Err(pause) = self.budget().take_look(now) else {
                break now;
            };
            if self.reason.is_empty() {
                self.reason = "this process has reached its limit of GET requests per hour".into();
            }
            let until_due = due.map(|due| due.saturating_duration_since(self.pace.now()));
            if let Some(until_due) = until_due.filter(|until_due| *until_due < pause) {
                self.pace.sleep(until_due);
                return Err(NoLook::Due);
            }
            self.pace.sleep(pause);
        };
        let (within, before) = (self.pace.begin_look(), self.provider.requests());
        let look = self.provider.look(within);
        let further = self.provider.requests().saturating_sub(before + 1);
        self.budget().note_looks(now, further);
        if !matches!(look, Look::NotConnected(_)) {
            self.unconnected_since = None;
        }
        Ok(look)
    }

    /// Whether another change makes sense. While an accepted one cannot be confirmed, another would
    /// only repeat it.
    fn may_change_again(&self) -> bool {
        self.accepted.is_none() && self.can_change()
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only a first change may use up what is left for an hour.
    fn share(&self) -> usize {
        let Bounds {
            changes_an_hour,
            reserved_changes,
            ..
        } = *self.pace.bounds();
        match self.changes {
            0 => changes_an_hour,
            _ => changes_an_hour.saturating_sub(reserved_changes),
        }
    }

    /// Counts a change that is about to be sent, if it may be.
    fn take_change(&mut self, now: Duration) -> bool {
        let share = self.share();
        self.changes < self.max_changes && self.budget().take_change(now, share)
    }

    /// Whether another change may be sent in this takeover. If not, looks go on to the deadline.
    fn can_change(&self) -> bool {
        let (now, share) = (self.pace.uptime(), self.share());
        self.changes < self.max_changes && self.budget().change_pause(now, share).is_zero()
    }

    // Evidence that the address is not here outweighs that a change was accepted.

    fn note_changing(&mut self) {
        self.seen = Some(Seen::BeingChanged);
        self.accepted = None;
    }

    fn note_elsewhere(&mut self, to: Option<String>) {
        self.seen = Some(Seen::At(to));
        self.accepted = None;
    }

    /// Looks once, because the address may be ours already. Otherwise the takeover fails.
    fn end_limited(&mut self, problem: Problem) -> Next {
        match self.look() {
            Some(Look::Ours) => return Next::End(Outcome::Routed),
            Some(Look::Refused(problem)) => return refused(problem),
            Some(Look::Elsewhere { to, .. }) => self.note_elsewhere(to),
            Some(Look::Changing) => self.note_changing(),
            Some(
                Look::Unanswered(_)
                | Look::NotConnected(_)
                | Look::Unsupported(_)
                | Look::HalfDone
                | Look::Failed(_),
            )
            | None => {}
        }
        Next::End(Outcome::Failed(Failure::Limited {
            problem,
            seen: self.seen.clone(),
        }))
    }

    fn end_out_of_time(&mut self) -> Next {
        // An endpoint that may support GET has not said that the address is here.
        let reason = match self.accepted.take() {
            Some(problem) => format!("accepted but not confirmed: {problem}"),
            None => self.reason.clone(),
        };
        // Without a reason, the last that was seen is one.
        let (reason, seen) = match (reason.as_str(), &self.seen) {
            ("", Some(Seen::BeingChanged)) => ("a switch is running".into(), None),
            _ => (reason, self.seen.clone()),
        };
        Next::End(Outcome::Failed(Failure::OutOfTime {
            reason,
            seen,
            deadline: self.pace.bounds().deadline,
        }))
    }

    fn log_line(&mut self, line: String) {
        (self.log)(line);
    }
}

fn refused(problem: Problem) -> Next {
    Next::End(Outcome::Failed(Failure::Refused(problem)))
}

/// Shorter spans than this are not shown.
const SHOWN: Duration = Duration::from_millis(50);

/// A span as the log shows it, in seconds.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
