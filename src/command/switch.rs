//! `hetzner-switch` and `hetzner-unroute`: one route, changed by hand.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::steps::{Steps, Stoppable};
use super::terminal::{self, Progress};
use super::{print, rights};
use crate::action::{SystemClock, Target, summary};
use crate::history::History;
use crate::http::SetupError;
use crate::legion::heartbeat::{Heartbeat, Lines, Work, WorkerError, run_with_heartbeat};
use crate::order::{self, Action, Order};
use crate::preflight;
use crate::provider::{self, Goal, Shared};
use crate::sys::process;
use crate::takeover::{
    self, Bounds, Budget, Look, Outcome, Provider, Report, Seconds, Surroundings,
};
use crate::text::printable;
use crate::uwsgi;

/// How long one look may take.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// How often the progress is redrawn, and an interrupt noticed.
const TICK: Duration = Duration::from_millis(200);
/// A change ends by itself at its deadline, unless a file that it reads hangs.
const GRACE: Duration = Duration::from_secs(2);

const DONE: i32 = 0;
const FAILED: i32 = 1;
/// What shells report for a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// What came of a change.
enum End {
    Done,
    /// The question was not answered with yes.
    Declined,
    Failed,
    RefusedLogin,
}

/// What is to become of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It leads to this server.
    Switch,
    /// It leads to no server.
    Unroute,
}

/// Changes the routes of the configured addresses, or of one of them. Returns the exit status.
pub fn run(change: Change, only: Option<&[u8]>, is_sure: bool) -> i32 {
    // A switch that has begun is finished, even if nobody reads the output any more.
    process::ignore_broken_pipes();
    let orders = match rights::take()
        .map_err(|error| vec![error.to_string()])
        .and_then(|()| configured())
        .and_then(|orders| select(orders, only).map_err(|problem| vec![problem]))
    {
        Ok(orders) => orders,
        Err(problems) => {
            for problem in problems {
                print(&format!("ERROR {problem}"));
            }
            return FAILED;
        }
    };
    if !is_sure && !terminal::can_ask() {
        print(
            "ERROR nobody can be asked, because standard input is no terminal: add --hetzner-yes",
        );
        return FAILED;
    }
    let history = History::default();
    let mut status = DONE;
    for order in orders {
        if process::interrupts() > 0 {
            print("interrupted: the remaining addresses were not tried");
            return INTERRUPTED;
        }
        let route = Route {
            change,
            target: Target::of(&order),
        };
        match route.change_by_hand(order, &history, is_sure) {
            End::Done => {}
            End::Declined | End::Failed => status = FAILED,
            // It would be refused again, and too many failed logins block this host.
            End::RefusedLogin => return FAILED,
        }
    }
    status
}

/// The orders of all lord hooks, each address once.
fn configured() -> Result<Vec<Order>, Vec<String>> {
    let mut orders: Vec<Order> = Vec::new();
    let mut mistakes = Vec::new();
    for legion in uwsgi::legions() {
        for hook in preflight::hooks_of_ours(legion) {
            if hook.event != "lord" || hook.action.as_bytes() == preflight::CHECK_ACTION.to_bytes()
            {
                continue;
            }
            let mut findings = preflight::Findings::default();
            findings.check_hook(&legion.name(), &hook);
            mistakes.extend(findings.mistakes);
            for order in order::of_action(&hook.action, &hook.argument) {
                let is_known = |known: &Order| {
                    known.resource() == order.resource() && known.server() == order.server()
                };
                if !orders.iter().any(is_known) {
                    orders.push(order);
                }
            }
        }
    }
    match mistakes.is_empty() {
        true => Ok(orders),
        false => Err(mistakes),
    }
}

/// The order for `only`, or all of them without it.
fn select(orders: Vec<Order>, only: Option<&[u8]>) -> Result<Vec<Order>, String> {
    if orders.is_empty() {
        return Err(
            "there is no legion-lord with an action of this plugin, such as hetzner-failoverip:..., \
             in this configuration"
                .into(),
        );
    }
    let Some(only) = only else {
        return Ok(orders);
    };
    let shown = printable(only);
    let ip: IpAddr = shown
        .parse()
        .map_err(|_| format!("hetzner-only: `{shown}` is not an IP address"))?;
    let known: Vec<String> = orders.iter().map(|order| order.ip.to_string()).collect();
    let chosen: Vec<Order> = orders.into_iter().filter(|order| order.ip == ip).collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(format!(
            "hetzner-only: {ip} is not in this configuration, which has {}",
            known.join(", ")
        )),
    }
}

/// A route, and what is to become of it.
#[derive(Clone)]
struct Route {
    change: Change,
    target: Target,
}

impl Route {
    /// In a few words.
    fn title(&self) -> String {
        let Target { ip, server, .. } = &self.target;
        match self.change {
            Change::Switch => format!("{ip} -> {server}"),
            Change::Unroute => format!("{ip} -> no server"),
        }
    }

    /// Where it leads when all is well.
    fn goal(&self) -> String {
        match self.change {
            Change::Switch => self.target.server.to_string(),
            Change::Unroute => "no server".into(),
        }
    }

    fn client(&self, order: &Order, shared: &Arc<Shared>) -> Result<Box<dyn Provider>, SetupError> {
        let goal = match self.change {
            Change::Switch => Goal::Here,
            Change::Unroute => Goal::Nowhere,
        };
        provider::client(order, goal, shared)
    }

    /// Looks, asks, and changes.
    fn change_by_hand(&self, order: Order, history: &History, is_sure: bool) -> End {
        let (ip, goal) = (self.target.ip, self.goal());
        match self.look(&order, history.shared()) {
            Err(error) => {
                print(&format!("ERROR {ip}: {error}"));
                return End::Failed;
            }
            Ok((Look::Refused(problem), refused_login)) => {
                print(&format!("ERROR {ip}: {problem}"));
                return match refused_login {
                    true => End::RefusedLogin,
                    false => End::Failed,
                };
            }
            Ok((Look::Ours, _)) => {
                print(&format!(
                    "{ip} is routed to {goal} already; nothing is to be done"
                ));
                return End::Done;
            }
            Ok((look, _)) => print(&self.found(&look)),
        }
        if !is_sure {
            let note =
                "This does not change the legion: its Lord stays Lord, and may route it back.";
            if !terminal::ask(&format!("{note}\nRoute {ip} to {goal}?")) {
                print("nothing was changed");
                return End::Declined;
            }
        }
        match self.run(order, history) {
            true => End::Done,
            false => End::Failed,
        }
    }

    /// Where it leads now, and whether the login was refused.
    fn look(&self, order: &Order, shared: &Arc<Shared>) -> Result<(Look, bool), SetupError> {
        let mut client = self.client(order, shared)?;
        let look = client.look(order.timeout.min(LOOK_TIME));
        Ok((look, client.has_refused_login()))
    }

    /// What a look has found, as a sentence.
    fn found(&self, look: &Look) -> String {
        let ip = self.target.ip;
        match look {
            Look::Ours => format!("{ip} is routed to {}", self.goal()),
            Look::Changing => format!("{ip} is being switched"),
            Look::Elsewhere { to: Some(to), .. } => format!("{ip} is routed to {to}"),
            Look::Elsewhere { to: None, .. } | Look::HalfDone => {
                format!("{ip} is routed to no server")
            }
            Look::Unanswered(problem)
            | Look::Failed(problem)
            | Look::NotConnected(problem)
            | Look::Unsupported(problem)
            | Look::Refused(problem) => format!("it is not known where {ip} is routed: {problem}"),
        }
    }

    /// Changes it. Returns whether that succeeded.
    fn run(&self, order: Order, history: &History) -> bool {
        process::catch_interrupts();
        let order = Arc::new(order);
        let (budget, deadline) = (history.budget(&order), order.deadline);
        let progress = RefCell::new(Progress::new(self.title(), deadline));
        let (shared, steps) = (history.shared(), Arc::new(Steps::default()));
        let (route, worker_order) = (self.clone(), order.clone());
        let (worker_shared, worker_steps) = (shared.clone(), steps.clone());
        let work: Work<Result<Report, SetupError>> = Box::new(move |lines| {
            let client = route.client(&worker_order, &worker_shared)?;
            let steps = worker_steps;
            let client = Stoppable { client, steps };
            Ok(take_over(client, &worker_order, &budget, lines))
        });
        // How many interrupts there were when it was said that it goes on.
        let overruled = Cell::new(0);
        let mut heartbeat = Heartbeat {
            interval: Some(TICK),
            beat: &mut || {
                progress.borrow().draw();
                let interrupts = process::interrupts();
                if interrupts == overruled.get() {
                    return;
                }
                let is_half_done = self.is_in_two_steps() && !steps.stop();
                if is_half_done && overruled.replace(interrupts) == 0 {
                    progress.borrow().clear();
                    print(&format!(
                        "finishing the move, because {} is on no server meanwhile; interrupt again \
                         to end it all the same",
                        self.target.ip
                    ));
                } else {
                    self.end_interrupted(&progress.borrow(), &order, shared, is_half_done);
                }
            },
            log: &mut |_, line| progress.borrow_mut().note(&line),
        };
        let bound = deadline + GRACE;
        let mut ended = run_with_heartbeat(&mut heartbeat, deadline, bound, vec![work]);
        let ended = ended.pop().unwrap_or(Err(WorkerError::Overdue));
        process::release_interrupts();
        progress.borrow().clear();
        let ip = self.target.ip;
        let report = match ended {
            Ok(Ok(report)) => report,
            Ok(Err(setup)) => return self.fail(&setup.to_string()),
            Err(worker) => return self.fail(&worker.to_string()),
        };
        let (goal, summary) = (self.goal(), summary(&report));
        match report.outcome {
            Outcome::Routed => {
                print(&format!("{ip} is routed to {goal} ({summary})"));
                true
            }
            Outcome::Unconfirmed(problem) => {
                print(&format!(
                    "WARNING {ip} is routed to {goal}, unconfirmed: the endpoint accepted the \
                     request, but does not report where the IP is routed: {problem} ({summary})"
                ));
                true
            }
            Outcome::Failed(failure) => self.fail(&format!("{failure} ({summary})")),
            Outcome::Outdated => self.fail("it was not tried"),
        }
    }

    /// Says what is known, and ends the process.
    fn end_interrupted(
        &self,
        progress: &Progress,
        order: &Order,
        shared: &Arc<Shared>,
        is_half_done: bool,
    ) -> ! {
        process::release_interrupts();
        progress.clear();
        let elapsed = Seconds(progress.elapsed());
        print(&format!(
            "interrupted after {elapsed}, while: {}",
            progress.state()
        ));
        match self.look(order, shared) {
            Ok((look, _)) => print(&self.found(&look)),
            Err(error) => print(&format!("it is not known where it is routed: {error}")),
        }
        print(match (is_half_done, self.is_in_two_steps()) {
            (true, _) => {
                "It may be on no server, and nothing goes on without this command: run it again."
            }
            (false, true) => {
                "This command did not take it off a server, and requests nothing more.\nLook again in \
                 two minutes, with --hetzner-check."
            }
            (false, false) => {
                "A switch that has begun goes on without this command.\nLook again in two minutes, \
                 with --hetzner-check."
            }
        });
        process::quit(INTERRUPTED)
    }

    /// Whether it has two steps, between which the address is on no server.
    fn is_in_two_steps(&self) -> bool {
        (self.change, self.target.action) == (Change::Switch, Action::Alias)
    }

    fn fail(&self, reason: &str) -> bool {
        let (ip, goal) = (self.target.ip, self.goal());
        print(&format!("ERROR {ip} is not routed to {goal}: {reason}"));
        false
    }
}

/// The whole procedure, on its own thread.
fn take_over(
    mut client: Stoppable,
    order: &Order,
    budget: &Mutex<Budget>,
    lines: &Lines,
) -> Report {
    let bounds = Bounds {
        start: Instant::now(),
        timeout: order.timeout,
        deadline: order.deadline,
        // That was done before it was asked.
        look_first: false,
        cautious: false,
        changes_an_hour: provider::limits(order).changes,
        reserved_changes: 0,
        sharing: 1,
    };
    let around = Surroundings {
        clock: &mut SystemClock,
        budget,
        // Whoever runs the command decides.
        is_elected: &|| true,
        log: &mut |line| lines.log(line),
    };
    takeover::take_over(bounds, &mut client, around)
}
