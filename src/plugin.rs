//! The front door: what uWSGI sees of the plugin, and where panics stop.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::zeroed;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::action::{self, Call, Looked, Target};
use crate::command::{self, Orders};
use crate::history::History;
use crate::legion::lordship::Doubt;
use crate::legion::member::{Member, Task};
use crate::legion::standstill::Standstill;
use crate::legion::watch::{Cause, Note, Verdict};
use crate::metrics;
use crate::order;
use crate::preflight::{self, Findings, Options};
use crate::probe::RunningCheck;
use crate::status::{self, Status};
use crate::sys::{self, process};
use crate::uwsgi::abi::{ActionFunction, PLUGIN_ROOM, uwsgi_legion, uwsgi_option, uwsgi_plugin};
use crate::uwsgi::metrics::Metric;
use crate::uwsgi::{self, Caller, Legion, MainThread, NAME, legacy_cipher, log};

/// A look ends by itself within half a minute; only a file that hangs, or a bug, makes it longer.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// What uWSGI's actions return.
const DONE: c_int = 0;
const FAILED: c_int = -1;

/// What the plugin keeps between uWSGI's calls. Other modules borrow it.
struct State {
    /// The legions that have a hook of ours, as found at boot.
    members: OnceLock<Vec<Member>>,
    /// What uWSGI shows of them.
    metrics: OnceLock<Vec<Metric>>,
    history: OnceLock<Arc<History>>,
    standstill: Standstill,
    /// The look in progress. There is at most one.
    look: Mutex<Option<RunningLook>>,
    /// The values of the plugin's options, as configured.
    options: Mutex<Options>,
    /// What the process is told to do instead of serving.
    orders: Mutex<Orders>,
    /// The health checks, each with the member whose application it probes.
    checks: Mutex<Vec<(usize, RunningCheck)>>,
    /// systemd's, if it waits for it.
    status: Mutex<Option<Status>>,
}

/// A look at a route, on a thread of its own.
struct RunningLook {
    /// In time since the machine was started.
    begun: Duration,
    thread: JoinHandle<Looked>,
    target: Target,
    account: String,
    alarm: Option<Vec<u8>>,
    /// The member and its route.
    member: usize,
    route: usize,
    cause: Cause,
    /// How many takeovers had begun before it. A later one makes its finding obsolete.
    takeovers: u64,
}

static STATE: State = State {
    members: OnceLock::new(),
    metrics: OnceLock::new(),
    history: OnceLock::new(),
    standstill: Standstill::new(),
    look: Mutex::new(None),
    options: Mutex::new(Options::new()),
    orders: Mutex::new(Orders::new()),
    checks: Mutex::new(Vec::new()),
    status: Mutex::new(None),
};

impl State {
    fn members(&self) -> &[Member] {
        self.members.get().map_or(&[], Vec::as_slice)
    }

    fn history(&self) -> &Arc<History> {
        self.history.get_or_init(Arc::default)
    }
}

/// The room that the mirror leaves, in bytes.
const REST: usize = PLUGIN_ROOM - size_of::<uwsgi_plugin>();

/// `struct uwsgi_plugin`, followed by room for what later versions append.
#[repr(C)]
pub struct Plugin {
    plugin: UnsafeCell<uwsgi_plugin>,
    _room: [u8; REST],
}

// SAFETY: only uWSGI accesses it, on one thread at a time, as with every plugin.
unsafe impl Sync for Plugin {}

/// A list of options, which uWSGI reads and never writes to.
#[repr(transparent)]
struct OptionList([uwsgi_option; 9]);

// SAFETY: it is never written to.
unsafe impl Sync for OptionList {}

static OPTIONS: OptionList = OptionList([
    uwsgi::option(
        preflight::HEALTH_OPTION,
        c"probe this node's application, and step back in the legion while it is sick: LEGION url=URL,...",
        set_health,
    ),
    uwsgi::option(
        preflight::NO_PREEMPT_OPTION,
        c"a Lord of this legion stays Lord when a node with a higher valor comes back",
        set_no_preempt,
    ),
    uwsgi::immediate_flag(
        command::CHECK,
        c"check the configuration, the webservice and this host, print a report, and exit",
        set_command,
    ),
    uwsgi::immediate_flag(
        command::CHECK_JSON,
        c"the same, as one JSON object",
        set_command,
    ),
    uwsgi::immediate_flag(
        command::SWITCH,
        c"move the addresses to this server by hand, and exit; asks first",
        set_command,
    ),
    uwsgi::immediate_flag(
        command::UNROUTE,
        c"take the addresses off their server, so that they lead nowhere, and exit; asks first",
        set_command,
    ),
    uwsgi::immediate_flag(
        command::YES,
        c"do not ask before hetzner-switch and hetzner-unroute",
        set_command,
    ),
    uwsgi::immediate_option(
        command::ONLY,
        c"the address that hetzner-switch and hetzner-unroute are for, of several",
        set_only,
    ),
    uwsgi::end_of_options(),
]);

/// A legion action: its name, what uWSGI logs when it calls it, and what it does.
struct Action {
    name: &'static CStr,
    message: &'static CStr,
    function: ActionFunction,
}

static ACTIONS: [Action; 4] = [
    Action {
        name: c"hetzner-failoverip",
        message: c"calling hetzner-failoverip",
        function: failoverip,
    },
    Action {
        name: c"hetzner-floatingip",
        message: c"calling hetzner-floatingip",
        function: floatingip,
    },
    Action {
        name: c"hetzner-aliasip",
        message: c"calling hetzner-aliasip",
        function: aliasip,
    },
    Action {
        name: preflight::CHECK_ACTION,
        message: c"calling hetzner-check",
        function: check_at_start,
    },
];

/// The symbol that uWSGI looks for in `hetzner_plugin.so`.
#[unsafe(no_mangle)]
pub static hetzner_plugin: Plugin = Plugin {
    plugin: UnsafeCell::new(uwsgi_plugin {
        name: c"hetzner".as_ptr(),
        on_load: Some(on_load),
        init: Some(init),
        options: (&raw const OPTIONS.0).cast_mut().cast(),
        postinit_apps: Some(postinit_apps),
        master_cycle: Some(master_cycle),
        master_cleanup: Some(master_cleanup),
        // SAFETY: null pointers, no functions and zeroes are what C leaves unset members as.
        ..unsafe { zeroed() }
    }),
    _room: [0; REST],
};

/// Called when the plugin is loaded, before the options that follow `plugin = hetzner`.
unsafe extern "C" fn on_load() {
    guard("on_load", || {
        command::expect();
        // SAFETY: uWSGI calls this, so the process is uWSGI.
        if let Err(reason) = unsafe { uwsgi::bind() } {
            log!(NAME, "ERROR {reason}");
            sys::exit(1);
        }
        log!(NAME, "uwsgi-hetzner {}", env!("CARGO_PKG_VERSION"));
        legacy_cipher::load();
        for action in &ACTIONS {
            uwsgi::register_action(action.name, action.message, action.function);
        }
        uwsgi::register_hook(command::HOOK, run_command);
    });
}

/// Called for each `hetzner-health`.
unsafe extern "C" fn set_health(_: *mut c_char, value: *mut c_char, _: *mut c_void) {
    // SAFETY: uWSGI passes the option's value.
    unsafe { add_option(value, |options| &mut options.health) };
}

/// Called for each `hetzner-nopreempt`.
unsafe extern "C" fn set_no_preempt(_: *mut c_char, value: *mut c_char, _: *mut c_void) {
    // SAFETY: uWSGI passes the option's value.
    unsafe { add_option(value, |options| &mut options.no_preempt) };
}

/// Called for each option of a command, as soon as it is read.
unsafe extern "C" fn set_command(name: *mut c_char, value: *mut c_char, _: *mut c_void) {
    guard("option", || {
        // SAFETY: uWSGI passes the option's name and value.
        let (name, value) = unsafe { (bytes(name), bytes(value)) };
        let mut orders = STATE.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.take(&name, &value) {
            uwsgi::run_as_soon_as_possible(command::HOOK);
        }
    });
}

/// Called for `hetzner-only`, as soon as it is read.
unsafe extern "C" fn set_only(_: *mut c_char, value: *mut c_char, _: *mut c_void) {
    guard("option", || {
        // SAFETY: uWSGI passes the option's value.
        let value = unsafe { bytes(value) };
        let mut orders = STATE.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.take_only(value) {
            uwsgi::run_as_soon_as_possible(command::HOOK);
        }
    });
}

/// The hook that runs a command, when the whole configuration has been read. It does not return.
unsafe extern "C" fn run_command(_: *mut c_char) -> c_int {
    guard("command", || {
        let orders = STATE.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let options = STATE.options.lock().unwrap_or_else(PoisonError::into_inner);
        command::run(&orders, &options)
    });
    process::quit(1)
}

/// # Safety
/// A C string, or null.
unsafe fn bytes(text: *const c_char) -> Vec<u8> {
    match text.is_null() {
        true => Vec::new(),
        // SAFETY: the caller's promise.
        false => unsafe { CStr::from_ptr(text) }.to_bytes().to_vec(),
    }
}

/// # Safety
/// `value` must be a C string, or null.
unsafe fn add_option(value: *mut c_char, list: impl FnOnce(&mut Options) -> &mut Vec<Vec<u8>>) {
    guard("option", || {
        // SAFETY: the caller's promise.
        let value = unsafe { bytes(value) };
        let mut options = STATE.options.lock().unwrap_or_else(PoisonError::into_inner);
        list(&mut options).push(value);
    });
}

/// Called when all options have been parsed. With `uid` and `gid` alone, privileges have been
/// dropped by then (core/uwsgi.c, `uwsgi_start`); with `drop-after-init` and the like, not yet.
unsafe extern "C" fn init() -> c_int {
    guard("init", || {
        command::expect_none();
        let findings = check_configuration();
        for warning in &findings.warnings {
            log!(NAME, "WARNING {warning}");
        }
        exit_for_mistakes(&findings.mistakes);
        if legacy_cipher::unload_if_unused(&uwsgi::legions()) {
            log!(
                NAME,
                "loaded OpenSSL's legacy provider, because a legion's cipher needs it; aes-256-cbc works without it"
            );
        }
        let (no_preempt, checks) = (findings.no_preempt, findings.checks);
        STATE.members.get_or_init(|| {
            let members = findings.legions.into_iter();
            members
                .map(|legion| {
                    let member = Member::new(legion, no_preempt.contains(&legion));
                    if checks.iter().any(|(checked, _)| *checked == legion) {
                        member.begin_sick();
                    }
                    member
                })
                .collect()
        });
        *STATE.status.lock().unwrap_or_else(PoisonError::into_inner) =
            Status::new(std::env::var_os(status::VARIABLE));
        STATE.metrics.get_or_init(|| show_figures(STATE.members()));
    });
    DONE
}

/// Makes uWSGI show what is counted, if its metrics are on.
fn show_figures(members: &[Member]) -> Vec<Metric> {
    let legions: Vec<String> = members.iter().map(|member| member.legion.name()).collect();
    let names = metrics::legion_names(&legions);
    let mut shown = Vec::new();
    for (member, name) in members.iter().zip(names) {
        let numbers = member.figures.numbers().into_iter();
        shown.extend(numbers.filter_map(|(end, kind, number)| {
            uwsgi::metrics::register(&format!("hetzner.{name}.{end}"), kind, number)
        }));
        let legion = member.legion.name();
        if !shown.is_empty() && name != legion {
            log!(
                NAME,
                "legion \"{legion}\": its metrics are named hetzner.{name}"
            );
        }
    }
    shown
}

fn check_configuration() -> Findings {
    let options = STATE.options.lock().unwrap_or_else(PoisonError::into_inner);
    preflight::check(&options)
}

/// Starts the health checks, in the master's first cycle. Threads do not survive a fork, and uWSGI may
/// become a daemon until then.
fn start_checks() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let mut checks = STATE.checks.lock().unwrap_or_else(PoisonError::into_inner);
        for (legion, check) in check_configuration().checks {
            let members = STATE.members();
            let Some(member) = members.iter().position(|member| member.legion == legion) else {
                continue;
            };
            match RunningCheck::start(check) {
                Ok(running) => checks.push((member, running)),
                Err(error) => log!(
                    NAME,
                    "ERROR legion \"{}\": a health check cannot be started: {error}",
                    legion.name()
                ),
            }
        }
    });
}

/// Whether an application of this member is sick. Logs what has changed.
fn look_at_checks(member: usize, legion: Legion) -> bool {
    let checks = STATE.checks.lock().unwrap_or_else(PoisonError::into_inner);
    let mut is_any_sick = false;
    for (_, check) in checks.iter().filter(|(of, _)| *of == member) {
        let (is_sick, lines) = check.look();
        is_any_sick |= is_sick;
        for line in lines {
            log!(NAME, "legion \"{}\": {line}", legion.name());
        }
    }
    is_any_sick
}

/// Called before the workers are started, after privileges have been dropped, so the files that a
/// takeover will read must be readable now.
unsafe extern "C" fn postinit_apps() {
    guard("postinit_apps", || {
        for metric in STATE.metrics.get().into_iter().flatten() {
            metric.forget_stored();
        }
        exit_for_mistakes(&check_configuration().mistakes);
    });
}

fn exit_for_mistakes(mistakes: &[String]) {
    for mistake in mistakes {
        log!(NAME, "ERROR {mistake}");
    }
    if !mistakes.is_empty() {
        sys::exit(1);
    }
}

/// Called whenever the master's loop wakes, once a second at least (`check-interval`), on the
/// main thread.
unsafe extern "C" fn master_cycle() {
    guard("master_cycle", || {
        // SAFETY: uWSGI calls this in the master, on its main thread.
        let thread = unsafe { MainThread::new() };
        let now = sys::uptime();
        let standstill = STATE.standstill.last(now);
        start_checks();
        finish_look();
        for (index, member) in STATE.members().iter().enumerate() {
            let is_sick = look_at_checks(index, member.legion);
            for task in member.cycle(&thread, now, standstill, is_sick) {
                do_task(index, member, task);
            }
        }
        show_status(STATE.members());
    });
}

/// Tells systemd what changed.
fn show_status(members: &[Member]) {
    let mut status = STATE.status.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(status) = status.as_mut().filter(|_| !members.is_empty()) else {
        return;
    };
    let line: Vec<String> = members.iter().map(Member::summary).collect();
    if let Err(error) = status.show(&line.join(" | ")) {
        log!(
            NAME,
            "WARNING the status line cannot be sent to systemd: {error}"
        );
    }
}

fn do_task(index: usize, member: &Member, task: Task) {
    let legion = member.legion.name();
    match task {
        Task::Doubted(Doubt::StoodStill) => log!(
            NAME,
            "legion \"{legion}\": this node was paused and may have been replaced: it has to become Lord again"
        ),
        Task::Doubted(Doubt::Disowned) => log!(
            NAME,
            "legion \"{legion}\": its peers do not hear this node and follow another Lord: it has to become Lord again"
        ),
        Task::SteppedBack(how) => log!(NAME, "legion \"{legion}\": {how}"),
        Task::Stands(standing) => log!(NAME, "legion \"{legion}\": {standing}"),
        Task::Revived => log!(
            NAME,
            "legion \"{legion}\": this node will rejoin the legion when its suspension ends"
        ),
        Task::Look(route, cause) => begin_look(index, member, route, cause),
    }
}

/// Starts a look, unless another one or a takeover is under way.
fn begin_look(index: usize, member: &Member, route: usize, cause: Cause) {
    let mut running = STATE.look.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(takeovers) = STATE.history().takeovers().filter(|_| running.is_none()) else {
        return member.postpone_look(route, cause);
    };
    let Some(order) = member.order(route) else {
        return;
    };
    member.note_look(route, sys::uptime());
    let (target, account, alarm) = (Target::of(&order), order.account(), order.alarm.clone());
    match action::look(order, cause, STATE.history()) {
        Ok(thread) => {
            *running = Some(RunningLook {
                thread,
                begun: sys::uptime(),
                target,
                account,
                alarm,
                member: index,
                route,
                cause,
                takeovers,
            });
        }
        Err(_) => member.postpone_look(route, cause),
    }
}

/// Does what follows from a look that has ended.
fn finish_look() {
    let mut running = STATE.look.lock().unwrap_or_else(PoisonError::into_inner);
    let now = sys::uptime();
    let is_overdue = |look: &RunningLook| now.saturating_sub(look.begun) >= LONGEST_LOOK;
    let has_ended = |look: &mut RunningLook| look.thread.is_finished() || is_overdue(look);
    let Some(look) = running.take_if(has_ended) else {
        return;
    };
    drop(running);
    let member = &STATE.members()[look.member];
    if !look.thread.is_finished() {
        // Its thread is left alone, so that it does not keep other looks from being made.
        let Target { action, ip, .. } = look.target;
        log!(
            action,
            "{ip}: WARNING a look at the route did not end in time: reading a file hangs, or this \
             is a bug in uwsgi-hetzner"
        );
        return member.postpone_look(look.route, look.cause);
    }
    let Ok(looked) = look.thread.join() else {
        return member.postpone_look(look.route, look.cause);
    };
    let Looked {
        finding,
        requests,
        refused_login,
    } = looked;
    if let Some(address) = member.figures.address(look.target.ip) {
        address.note_requests(requests);
    }
    // A takeover may have moved the address since.
    if STATE.history().takeovers() != Some(look.takeovers) || !member.legion.is_lord() {
        return member.postpone_look(look.route, look.cause);
    }
    let log_note = |note: &Note| {
        let alarm = look.alarm.as_deref().filter(|_| note.is_alarming());
        let Target { action, ip, .. } = look.target;
        action::log_line(action, alarm, format_args!("{ip}: {note}"));
    };
    if refused_login {
        for member in STATE.members() {
            member.stop_looks(&look.account);
        }
    }
    match member.judge(look.route, sys::uptime(), look.cause, finding) {
        Verdict::Nothing => {}
        Verdict::Log(note) => log_note(&note),
        Verdict::Retake(note) => {
            log_note(&note);
            member.legion.forget_lordship();
        }
    }
}

/// Called when uWSGI ends or reloads, on the main thread, before it announces its death for the last
/// time. (It has done that once when it was told to end, but not if it was suspended.)
///
/// Also called in children that exit before they become another program, because it is an `atexit`
/// handler (core/master.c). They share the legions' memory with the master, but must not touch it.
unsafe extern "C" fn master_cleanup() {
    guard("master_cleanup", || {
        let members = STATE.members().iter().map(|member| member.legion);
        let ours: Vec<Legion> = members.filter(|legion| legion.is_run_here()).collect();
        if ours.is_empty() {
            return;
        }
        // SAFETY: uWSGI calls this on the master's main thread.
        uwsgi::stop_announcing(&unsafe { MainThread::new() });
        for legion in ours {
            legion.set_suspended_until(0);
        }
    });
}

/// The legion action `hetzner-failoverip`: blocks until the takeovers have ended.
unsafe extern "C" fn failoverip(legion: *mut uwsgi_legion, argument: *mut c_char) -> c_int {
    // SAFETY: uWSGI's promise.
    unsafe { run_action(order::Action::Failover, legion, argument) }
}

/// The legion action `hetzner-floatingip`.
unsafe extern "C" fn floatingip(legion: *mut uwsgi_legion, argument: *mut c_char) -> c_int {
    // SAFETY: uWSGI's promise.
    unsafe { run_action(order::Action::Floating, legion, argument) }
}

/// The legion action `hetzner-aliasip`.
unsafe extern "C" fn aliasip(legion: *mut uwsgi_legion, argument: *mut c_char) -> c_int {
    // SAFETY: uWSGI's promise.
    unsafe { run_action(order::Action::Alias, legion, argument) }
}

/// # Safety
/// uWSGI has called an action of the plugin with these arguments, on this thread.
unsafe fn run_action(
    action: order::Action,
    legion: *mut uwsgi_legion,
    argument: *mut c_char,
) -> c_int {
    let done = guard(action.name(), || {
        // SAFETY: uWSGI passes one of its legions, and the part of the hook after its colon.
        let (legion, text) = unsafe {
            (
                Legion::from_raw(legion),
                CStr::from_ptr(argument).to_bytes(),
            )
        };
        legion.is_some_and(|legion| {
            let mut members = STATE.members().iter();
            action::run(&Call {
                action,
                // SAFETY: the caller's promise.
                caller: unsafe { Caller::new() },
                legion,
                member: members.find(|member| member.legion == legion),
                argument: text,
                place: argument as usize,
                history: STATE.history(),
                standstill: &STATE.standstill,
            })
        })
    });
    match done {
        Some(true) => DONE,
        Some(false) | None => FAILED,
    }
}

/// The legion action `hetzner-check`: starts the check, and does not wait for it. With several
/// legions it is done once, because it is about all of them.
unsafe extern "C" fn check_at_start(_: *mut uwsgi_legion, _: *mut c_char) -> c_int {
    static STARTED: Once = Once::new();
    guard("hetzner-check", || {
        STARTED.call_once(|| {
            let options = STATE.options.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = command::log_check(options.clone(), STATE.history().clone()) {
                log!(
                    NAME,
                    "WARNING no check at this start: no thread for it: {error}"
                );
            }
        });
    });
    DONE
}

/// Where panics stop: `None` if there was one.
fn guard<T>(place: &str, work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        log!(
            NAME,
            "ERROR {place} ended in a panic, which is a bug in uwsgi-hetzner (see above)"
        );
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stops_at_the_boundary() {
        assert_eq!(guard("test", || panic!("on purpose")), None::<()>);
        assert_eq!(guard("test", || 7), Some(7));
    }
}
