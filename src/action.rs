//! The legion action `hetzner-failoverip`: an order, its takeover, and the log lines about it.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::history::{History, PastTakeovers};
use crate::isolation::memory;
use crate::legion::heartbeat::{Heartbeat, Mandate, WorkerError, run_with_heartbeat};
use crate::legion::member::Member;
use crate::legion::standstill::Standstill;
use crate::legion::watch::Finding;
use crate::metrics::Ended;
use crate::order::Order;
use crate::robot::{self, Client, SetupError};
use crate::sys;
use crate::takeover::{
    self, Bounds, Budget, Clock, Failure, Look, Outcome, Problem, Provider, Report, Seconds,
    Surroundings,
};
use crate::uwsgi::{self, Caller, Legion, LegionThread, log, settings};

/// The name of the action, which every log line of a takeover begins with.
pub const NAME: &str = "hetzner-failoverip";

/// After a takeover as long as this, the packets that have arrived meanwhile are discarded unread.
const LONG_DEAF: Duration = Duration::from_secs(30);

/// A takeover ends by itself at its deadline; only a file that hangs, or a bug, lets it run on for
/// this long.
const GRACE: Duration = Duration::from_secs(2);

/// How long one look at the route may take.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// The time between two looks that must agree.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// A call of the action, and what it may use.
pub struct Call<'a> {
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

/// How a call ended.
enum End {
    Succeeded,
    Failed {
        for_good: bool,
    },
    /// The votes that elected this node are out of date.
    Outdated,
}

/// Routes the failover IP as the argument orders, and blocks until that has succeeded
/// (`true`) or failed. Everything about it is logged.
pub fn failoverip(call: &Call) -> bool {
    let began = sys::uptime();
    // Only a lord hook that fails has consequences for the node.
    let member = call.member.filter(|member| member.is_lord_hook(call.place));
    let acting = call.caller.legion_thread().zip(member);
    let _acting = acting.map(|(_, member)| member.begin_action());
    let standstill = call.standstill.last(began);
    let end = match Order::parse(call.argument) {
        Ok(order) => match acting {
            Some((thread, member)) if member.has_old_votes(thread, began, standstill) => {
                End::Outdated
            }
            Some(_) | None => take_over(call, order),
        },
        Err(mistakes) => {
            for mistake in mistakes {
                log!(NAME, "ERROR {mistake}");
            }
            End::Failed { for_good: true }
        }
    };
    let now = sys::uptime();
    // Whatever the hook and the end, only a pause after `began` can make the lordship doubtful now.
    if let Some(member) = call.member {
        member.note_takeover(began, now, call.place, matches!(end, End::Succeeded));
    }
    match (&end, acting) {
        (End::Outdated, Some((thread, member))) => {
            log!(
                NAME,
                "not taking over: this node was paused or isolated, so the votes that elected it are out of date; voting again"
            );
            member.vote_again(thread, now, call.place);
        }
        (End::Failed { for_good }, Some((thread, member))) => {
            member.step_back(thread, now, call.place, *for_good);
        }
        (End::Succeeded | End::Failed { .. } | End::Outdated, _) => {}
    }
    matches!(end, End::Succeeded)
}

fn take_over(call: &Call, order: Order) -> End {
    let target = Target::of(&order);
    log!(NAME, "{} -> {}", target.ip, target.server);
    let start = sys::uptime();
    let (url, alarm) = (order.url.clone(), order.alarm.clone());
    let budget = call.history.budget(&order);
    let past = call.history.past(&url);
    let nodes = call.member.map_or(1, Member::nodes);
    let (peers, quorum) = call.legion.electorate();
    let needs_votes = call.caller.legion_thread().is_some() && peers > 0 && quorum > 1;
    let mandate = Arc::new(Mandate::new(start, settings::tolerance(), needs_votes));
    let (deadline, bound) = (order.deadline, order.deadline + GRACE);
    let pulse = Pulse::new(&call.caller, call.legion);
    let mut is_first = true;
    let mut heartbeat = Heartbeat {
        interval: pulse.as_ref().map(|_| settings::announce_interval()),
        beat: &mut || {
            if let Some(pulse) = &pulse {
                pulse.beat(&mandate, call.standstill, std::mem::take(&mut is_first));
            }
        },
        log: &mut |line| log!(NAME, "{} -> {}: {line}", target.ip, target.server),
    };
    let _running = call.history.begin();
    let (worker_mandate, standstill) = (mandate.clone(), call.standstill);
    let ended = run_with_heartbeat(&mut heartbeat, deadline, bound, move |lines| {
        let is_elected = || worker_mandate.is_valid(standstill);
        let log = &mut |line| lines.log(line);
        run(&order, past, nodes, &budget, &is_elected, log)
    });
    if let Some(pulse) = &pulse {
        pulse.end(sys::uptime().saturating_sub(start));
    }
    warn_of_shortfall();
    if let Some(address) = call
        .member
        .and_then(|member| member.figures.address(target.ip))
    {
        let (now, ended) = (sys::uptime(), Ended::of(&ended));
        address.note_takeover(now, sys::unix_time(), now.saturating_sub(start), &ended);
    }
    let end = target.log_end(ended, alarm.as_deref());
    let succeeded = match end {
        End::Succeeded => Some(true),
        End::Failed { .. } => Some(false),
        End::Outdated => None,
    };
    call.history.note_end(&url, succeeded);
    end
}

/// Logs a line of a takeover or a look, and passes it to an alarm.
pub fn log_line(alarm: Option<&[u8]>, text: fmt::Arguments) {
    let line = format!("[{NAME}] {text}");
    uwsgi::log_line(&line);
    if let Some(alarm) = alarm {
        uwsgi::alarm::trigger(alarm, &line);
    }
}

/// Warns if memory that contained the password could not be protected.
fn warn_of_shortfall() {
    if memory::fell_short() {
        log!(
            NAME,
            "WARNING the password may be exposed in a worker started during this takeover, in a \
             core dump or in swap: its memory could not be protected"
        );
    }
}

/// The takeover itself, on the thread `takeover`.
fn run(
    order: &Order,
    past: PastTakeovers,
    nodes: usize,
    budget: &Mutex<Budget>,
    is_elected: &dyn Fn() -> bool,
    log: &mut dyn FnMut(String),
) -> Result<Report, SetupError> {
    // Reading files and certificates is part of the takeover's time.
    let bounds = Bounds {
        start: Instant::now(),
        timeout: order.timeout,
        deadline: order.deadline,
        look_first: past.has_routed || past.failed_last,
        cautious: past.failed_last,
        // While takeovers fail, the nodes try in turn, and share what one account may send.
        changes_an_hour: match past.failed_last {
            true => (robot::LIMITS.changes / nodes).max(1),
            false => robot::LIMITS.changes,
        },
    };
    let mut client = Client::new(order)?;
    let around = Surroundings {
        clock: &mut SystemClock,
        budget,
        is_elected,
        log,
    };
    Ok(takeover::take_over(bounds, &mut client, around))
}

/// A look that has ended.
pub struct Looked {
    pub finding: Finding,
    /// How many requests were sent.
    pub requests: u32,
}

/// Looks where the address is routed, on a thread `look` that ends afterwards.
///
/// # Errors
/// The thread could not be started.
pub fn look(
    order: Order,
    budget: Arc<Mutex<Budget>>,
) -> std::io::Result<std::thread::JoinHandle<Looked>> {
    crate::isolation::spawn("look", move || {
        let mut client = match Client::new(&order) {
            Ok(client) => client,
            Err(error) => {
                return Looked {
                    finding: Finding::Unanswered(Problem::new(error)),
                    requests: 0,
                };
            }
        };
        let within = order.timeout.min(LOOK_TIME);
        let mut look =
            || -> Option<Look> { takeover::look_once(&mut client, within, &budget, sys::uptime()) };
        let first = look();
        let finding = Finding::of(first, || {
            std::thread::sleep(BETWEEN_LOOKS);
            look()
        });
        Looked {
            finding,
            requests: client.requests(),
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
#[derive(Clone, Copy)]
pub struct Target {
    pub ip: IpAddr,
    pub server: IpAddr,
}

impl Target {
    pub fn of(order: &Order) -> Target {
        Target {
            ip: order.failover_ip,
            server: order.active_ip,
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
        let Target { ip, server } = self;
        let summary = summary(&report);
        match report.outcome {
            Outcome::Routed => {
                log!(NAME, "{ip} is routed to {server} ({summary})");
                End::Succeeded
            }
            Outcome::Unconfirmed(problem) => {
                log!(
                    NAME,
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
        let Target { ip, server } = self;
        log_line(
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
