//! One hook: its orders, their takeovers side by side, one outcome, and the log lines about it.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::history::{History, PastTakeovers};
use crate::http::SetupError;
use crate::isolation::memory;
use crate::legion::heartbeat::{Heartbeat, Lines, Mandate, Work, WorkerError, run_with_heartbeat};
use crate::legion::member::Member;
use crate::legion::standstill::Standstill;
use crate::legion::watch::{Cause, Finding};
use crate::metrics::Ended;
use crate::order::{self, Action, Order, Service};
use crate::provider::{self, Goal, Shared};
use crate::sys;
use crate::takeover::{
    self, Bounds, Budget, Clock, Failure, First, Gate, Look, Outcome, Problem, Report, Seconds,
    Surroundings,
};
use crate::uwsgi::{self, Caller, Legion, LegionThread, log, settings};

/// After a takeover as long as this, the packets that have arrived meanwhile are discarded unread.
const LONG_DEAF: Duration = Duration::from_secs(30);

/// How long the takeovers of one account wait for the first answer to its login.
const LOGIN_TIME: Duration = Duration::from_secs(20);

/// A takeover ends by itself at its deadline; only a file that hangs, or a bug, lets it run on for
/// this long.
const GRACE: Duration = Duration::from_secs(2);

/// How long one look at the route may take.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// The time between two looks that must agree.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// A call of an action, and what it may use.
pub struct Call<'a> {
    pub action: Action,
    pub caller: Caller,
    pub legion: Legion,
    /// The member that the legion is, if the plugin knows it: not before `init`.
    pub member: Option<&'a Member>,
    pub argument: &'a [u8],
    /// Where uWSGI keeps the argument, which tells its hooks apart.
    pub place: usize,
    pub history: &'a Arc<History>,
    pub standstill: &'static Standstill,
}

/// How a call ended, or the takeover of one of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Succeeded,
    Failed {
        for_good: bool,
    },
    /// The votes that elected this node are out of date.
    Outdated,
}

impl End {
    /// The end of a call with these ends of its addresses: out of date, failed, or succeeded, whichever
    /// is the first that one of them is.
    fn of_all(ends: &[End]) -> End {
        let failed = |for_good| ends.contains(&End::Failed { for_good });
        match () {
            () if ends.contains(&End::Outdated) => End::Outdated,
            () if failed(true) => End::Failed { for_good: true },
            () if failed(false) => End::Failed { for_good: false },
            () => End::Succeeded,
        }
    }
}

/// Moves the addresses here as the argument orders, and blocks until that has succeeded for all of
/// them (`true`) or failed. Everything about it is logged.
pub fn run(call: &Call) -> bool {
    let began = sys::uptime();
    // Only a lord hook that fails has consequences for the node.
    let member = call.member.filter(|member| member.is_lord_hook(call.place));
    let acting = call.caller.legion_thread().zip(member);
    let _acting = acting.map(|(_, member)| member.begin_action());
    let standstill = call.standstill.last(began);
    let mut found_here = Vec::new();
    let end = match order::parse(call.action, call.argument) {
        Ok(orders) => match acting {
            Some((thread, member)) if member.has_old_votes(thread, began, standstill) => {
                End::Outdated
            }
            Some(_) | None => take_over(call, orders, &mut found_here),
        },
        Err(mistakes) => {
            for mistake in mistakes {
                log!(call.action, "ERROR {mistake}");
            }
            End::Failed { for_good: true }
        }
    };
    let now = sys::uptime();
    // Whatever the hook and the end, only a pause after `began` can make the lordship doubtful now.
    if let Some(member) = call.member {
        let succeeded = end == End::Succeeded;
        member.note_takeover(began, now, call.place, succeeded, &found_here);
    }
    match (end, acting) {
        (End::Outdated, Some((thread, member))) => {
            log!(
                call.action,
                "not taking over: this node was paused or isolated, so the votes that elected it are out of date; voting again"
            );
            member.vote_again(thread, now, call.place);
        }
        (End::Failed { for_good }, Some((thread, member))) => {
            member.step_back(thread, now, call.place, for_good);
        }
        (End::Succeeded | End::Failed { .. } | End::Outdated, _) => {}
    }
    end == End::Succeeded
}

/// What the takeovers of one call have in common, and may use on their own threads.
struct Common {
    mandate: Mandate,
    standstill: &'static Standstill,
    budget: Arc<Mutex<Budget>>,
    shared: Arc<Shared>,
    /// How many nodes the legion has.
    nodes: usize,
    /// How many addresses are taken over at once.
    addresses: usize,
    /// Held closed by the first address, if the login must not be tried several times at once.
    gate: Option<Gate>,
}

/// `found_here`: gets the addresses that were routed to this server already.
fn take_over(call: &Call, orders: Vec<Order>, found_here: &mut Vec<IpAddr>) -> End {
    let Some(first) = orders.first() else {
        return End::Succeeded;
    };
    let start = sys::uptime();
    let (deadline, bound) = (first.deadline, first.deadline + GRACE);
    let alarm = first.alarm.clone();
    let targets: Vec<Target> = orders.iter().map(Target::of).collect();
    for target in &targets {
        log!(call.action, "{} -> {}", target.ip, target.server);
    }
    let (peers, quorum) = call.legion.electorate();
    let needs_votes = call.caller.legion_thread().is_some() && peers > 0 && quorum > 1;
    let blocks_logins = matches!(first.service, Service::Robot(_));
    let common = Arc::new(Common {
        mandate: Mandate::new(start, settings::tolerance(), needs_votes),
        standstill: call.standstill,
        budget: call.history.budget(first),
        shared: call.history.shared().clone(),
        nodes: call.member.map_or(1, Member::nodes),
        addresses: orders.len(),
        gate: (blocks_logins && orders.len() > 1).then(Gate::default),
    });
    let resources: Vec<String> = orders.iter().map(Order::resource).collect();
    let pulse = Pulse::new(&call.caller, call.legion);
    let mut is_first = true;
    let mut heartbeat = Heartbeat {
        interval: pulse.as_ref().map(|_| settings::announce_interval()),
        beat: &mut || {
            if let Some(pulse) = &pulse {
                let is_first = std::mem::take(&mut is_first);
                pulse.beat(&common.mandate, call.standstill, is_first);
            }
        },
        log: &mut |number, line| {
            let Target { ip, server, .. } = &targets[number];
            log!(call.action, "{ip} -> {server}: {line}");
        },
    };
    let _running = call.history.begin();
    let works = orders.into_iter().zip(&resources).enumerate();
    let works = works.map(|(number, (order, resource))| {
        let past = call.history.past(resource);
        let common = common.clone();
        let is_first = number == 0;
        // Whatever becomes of the first one, a thread that is refused included, the others begin.
        let opener = is_first.then(|| Opener(common.clone()));
        let work: Work<_> = Box::new(move |lines| {
            let _opener = opener;
            take_one(&order, is_first, past, &common, lines)
        });
        work
    });
    let ended = run_with_heartbeat(&mut heartbeat, deadline, bound, works.collect());
    if let Some(pulse) = &pulse {
        pulse.end(sys::uptime().saturating_sub(start));
    }
    warn_of_shortfall(call.action);
    let mut ends = Vec::new();
    for ((ended, target), resource) in ended.into_iter().zip(&targets).zip(&resources) {
        let address = call
            .member
            .and_then(|member| member.figures.address(target.ip));
        if let Some(address) = address {
            let now = sys::uptime();
            let elapsed = match &ended {
                Ok(Ok(report)) => report.elapsed,
                Ok(Err(_)) | Err(_) => now.saturating_sub(start),
            };
            address.note_takeover(now, sys::unix_time(), elapsed, &Ended::of(&ended));
        }
        let is_unchanged = matches!(&ended, Ok(Ok(report)) if report.changes == 0);
        let end = target.log_end(ended, alarm.as_deref());
        if is_unchanged && end == End::Succeeded {
            found_here.push(target.ip);
        }
        call.history.note_end(
            resource,
            match end {
                End::Succeeded => Some(true),
                End::Failed { .. } => Some(false),
                End::Outdated => None,
            },
        );
        ends.push(end);
    }
    End::of_all(&ends)
}

/// Logs a line of a takeover or a look, and passes it to an alarm.
pub fn log_line(action: Action, alarm: Option<&[u8]>, text: fmt::Arguments) {
    let line = format!("[{action}] {text}");
    uwsgi::log_line(&line);
    if let Some(alarm) = alarm {
        uwsgi::alarm::trigger(alarm, &line);
    }
}

/// Warns if memory that contained the password or the token could not be protected.
fn warn_of_shortfall(action: Action) {
    if memory::fell_short() {
        let what = match action {
            Action::Failover => "password",
            Action::Floating | Action::Alias => "token",
        };
        log!(
            action,
            "WARNING the {what} may be exposed in a worker started during this takeover, in a \
             core dump or in swap: its memory could not be protected"
        );
    }
}

/// The takeover of one address, on a thread `takeover`.
fn take_one(
    order: &Order,
    is_first: bool,
    past: PastTakeovers,
    common: &Common,
    lines: &Lines,
) -> Result<Report, SetupError> {
    let start = Instant::now();
    let gate = common.gate.as_ref();
    if let Some(refusal) = gate
        .filter(|_| !is_first)
        .and_then(|gate| gate.wait(order.deadline.min(LOGIN_TIME)))
    {
        return Ok(Report {
            outcome: Outcome::Failed(Failure::Refused(refusal)),
            elapsed: start.elapsed(),
            requests: 0,
            changes: 0,
            steps: 1,
        });
    }
    let limits = provider::limits(order);
    // Reading files and certificates is part of the takeover's time.
    let bounds = Bounds {
        start,
        timeout: order.timeout,
        deadline: order.deadline,
        look_first: past.has_routed
            || past.failed_last
            || gate.is_some_and(|_| is_first && common.may_look()),
        cautious: past.failed_last,
        // While takeovers fail, the nodes try in turn, and share what one account may send. Of several
        // addresses some may be here already, which a look has to tell before each change.
        changes_an_hour: match (past.failed_last, common.addresses) {
            (true, 1) => (limits.changes / common.nodes).max(1),
            (true, _) | (false, _) => limits.changes,
        },
        // So that another failover of all addresses is possible within the hour.
        reserved_changes: match common.addresses {
            1 => 0,
            several => several,
        },
        sharing: match &order.service {
            Service::Robot(_) => u32::try_from(common.addresses).unwrap_or(u32::MAX),
            // A project may send thousands.
            Service::Cloud(_) => 1,
        },
    };
    let mut client = provider::client(order, Goal::Here, &common.shared)?;
    let around = Surroundings {
        clock: &mut SystemClock,
        budget: &common.budget,
        is_elected: &|| {
            let now = sys::uptime();
            common.mandate.is_valid(now, common.standstill.last(now))
        },
        log: &mut |line| lines.log(line),
    };
    Ok(match gate.filter(|_| is_first) {
        Some(gate) => {
            let provider = &mut *client;
            takeover::take_over(bounds, &mut First { provider, gate }, around)
        }
        None => takeover::take_over(bounds, &mut *client, around),
    })
}

/// Opens the gate when it is dropped.
struct Opener(Arc<Common>);

impl Drop for Opener {
    fn drop(&mut self) {
        if let Some(gate) = &self.0.gate {
            gate.open();
        }
    }
}

impl Common {
    /// Whether a look may be sent without a wait.
    fn may_look(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.look_pause(sys::uptime()).is_zero()
    }
}

/// A look that has ended.
pub struct Looked {
    pub finding: Finding,
    /// How many requests were sent.
    pub requests: u32,
    /// The login was refused, so no further look is made with it.
    pub refused_login: bool,
}

/// Looks where the address is routed, on a thread `look` that ends afterwards.
///
/// # Errors
/// The thread could not be started.
pub fn look(
    order: Order,
    cause: Cause,
    history: &History,
) -> std::io::Result<std::thread::JoinHandle<Looked>> {
    let (budget, shared) = (history.budget(&order), history.shared().clone());
    crate::isolation::spawn("look", move || {
        let mut client = match provider::client(&order, Goal::Here, &shared) {
            Ok(client) => client,
            Err(error) => {
                return Looked {
                    finding: Finding::Unanswered(Problem::new(error)),
                    requests: 0,
                    refused_login: false,
                };
            }
        };
        let within = order.timeout.min(LOOK_TIME);
        let urgent = cause == Cause::Event;
        let mut look = || -> Option<Look> {
            takeover::look_once(&mut *client, within, &budget, sys::uptime(), urgent)
        };
        let first = look();
        let finding = Finding::of(first, || {
            std::thread::sleep(BETWEEN_LOOKS);
            look()
        });
        Looked {
            finding,
            requests: client.requests(),
            refused_login: client.has_refused_login(),
        }
    })
}

impl Ended<'_> {
    /// How a takeover ended, as far as it is counted.
    fn of(ended: &Result<Result<Report, SetupError>, WorkerError>) -> Ended<'_> {
        match ended {
            Ok(Ok(report)) => Ended::Reported(report),
            Ok(Err(_)) | Err(_) => Ended::Failed,
        }
    }
}

/// The address, and where it is to be routed.
#[derive(Debug, Clone)]
pub struct Target {
    pub action: Action,
    pub ip: IpAddr,
    /// In words.
    pub server: String,
}

impl Target {
    pub fn of(order: &Order) -> Target {
        Target {
            action: order.action,
            ip: order.ip,
            server: order.server(),
        }
    }

    /// Logs the last line of a takeover. If somebody has to look after it, the alarm is triggered.
    fn log_end(
        &self,
        ended: Result<Result<Report, SetupError>, WorkerError>,
        alarm: Option<&[u8]>,
    ) -> End {
        let report = match ended {
            Ok(Ok(report)) => report,
            // A file, a certificate or the environment: somebody has to fix it.
            Ok(Err(setup)) => return self.log_failure(&setup, true, alarm),
            Err(worker) => return self.log_failure(&worker, false, alarm),
        };
        let Target { action, ip, server } = self;
        let summary = summary(&report);
        match report.outcome {
            Outcome::Routed => {
                log!(action, "{ip} is routed to {server} ({summary})");
                End::Succeeded
            }
            Outcome::Unconfirmed(problem) => {
                log!(
                    action,
                    "WARNING {ip} is routed to {server}, unconfirmed: the endpoint accepted the \
                     request, but does not report where the IP is routed: {problem} ({summary})"
                );
                End::Succeeded
            }
            Outcome::Failed(failure) => {
                let for_good = Failure::is_for_good(&failure);
                let alarm = alarm.filter(|_| is_alarming(&failure));
                self.log_failure(&format!("{failure} ({summary})"), for_good, alarm)
            }
            Outcome::Outdated => End::Outdated,
        }
    }

    fn log_failure(&self, reason: &dyn Display, for_good: bool, alarm: Option<&[u8]>) -> End {
        let Target { action, ip, server } = self;
        log_line(
            *action,
            alarm,
            format_args!("ERROR {ip} is not routed to {server}: {reason}"),
        );
        End::Failed { for_good }
    }
}

/// Whether somebody has to look after a takeover that failed: it failed for good, or at its deadline.
/// Otherwise this node or another one tries again soon.
fn is_alarming(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(_) | Failure::OutOfTime { .. } => true,
        Failure::Limited { .. } | Failure::NoConnection { .. } => false,
    }
}

/// How long a takeover took, and how many requests.
pub fn summary(report: &Report) -> String {
    let requests = match report.requests {
        1 => "1 request".into(),
        requests => format!("{requests} requests"),
    };
    format!("after {}, {requests}", Seconds(report.elapsed))
}

/// The real time.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn uptime(&self) -> Duration {
        sys::uptime()
    }

    fn sleep(&mut self, span: Duration) {
        std::thread::sleep(span);
    }
}

/// Keeps the node in its legions, all of which share one thread, if this is that thread.
/// `legion-setup` and `legion-death` hooks run on the main thread, where uWSGI announces by itself
/// and the peers' lists may change at any time.
struct Pulse<'a> {
    thread: &'a LegionThread,
    legion: Legion,
    legions: Vec<Legion>,
}

impl Pulse<'_> {
    fn new(caller: &Caller, legion: Legion) -> Option<Pulse<'_>> {
        let thread = caller.legion_thread()?;
        Some(Pulse {
            thread,
            legion,
            legions: uwsgi::legions(),
        })
    }

    /// Packets that arrived before the first beat are not discarded, because the node was still
    /// listening then.
    fn beat(&self, mandate: &Mandate, standstill: &Standstill, is_first: bool) {
        for legion in &self.legions {
            legion.announce(self.thread);
        }
        let now = sys::uptime();
        standstill.last(now);
        if !is_first {
            mandate.note_beat(now, self.legion.discard_backlog(self.thread));
        }
    }

    /// This node did not listen to its peers, so they must not be dropped as silent.
    fn end(&self, elapsed: Duration) {
        for legion in &self.legions {
            // uWSGI refuses packets that are older than a minute, and blames the sender's clock.
            if elapsed >= LONG_DEAF {
                legion.discard_backlog(self.thread);
            }
            legion.refresh_peers(self.thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_succeeds_if_all_its_addresses_do() {
        let failed = |for_good| End::Failed { for_good };
        for (ends, all) in [
            (&[End::Succeeded, End::Succeeded][..], End::Succeeded),
            (&[End::Succeeded, failed(false)], failed(false)),
            (&[failed(false), failed(true)], failed(true)),
            (&[failed(true), End::Outdated], End::Outdated),
        ] {
            assert_eq!(End::of_all(ends), all);
        }
    }
}
