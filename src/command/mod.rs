//! The second front door: `uwsgi --ini FILE --hetzner-check` and the like.
//!
//! A command is an option of the plugin, so that it goes by the very configuration and environment
//! that the legion runs with. It runs when all of that has been read and nothing else has been
//! done: nothing is bound, no pidfile is written, no process is started. It ends the process by
//! `_exit`, so it is safe beside the running instance.

mod check;
mod early;
mod guard;
mod human;
mod json;
mod report;
mod rights;
mod steps;
mod switch;
mod terminal;

use std::ffi::CStr;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use crate::history::History;
use crate::isolation;
use crate::order;
use crate::preflight::Options;
use crate::sys::process;
use crate::uwsgi::{NAME, log};
use report::{Fact, Level, Place, Tally, Topic};
use switch::Change;

pub const CHECK: &CStr = c"hetzner-check";
pub const CHECK_JSON: &CStr = c"hetzner-check-json";

pub const SWITCH: &CStr = c"hetzner-switch";
pub const UNROUTE: &CStr = c"hetzner-unroute";
pub const YES: &CStr = c"hetzner-yes";
pub const ONLY: &CStr = c"hetzner-only";

/// The hook that runs a command.
pub const HOOK: &CStr = c"hetzner-command";

/// What a process can be told to do instead of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Check,
    CheckJson,
    Change(Change),
}

/// What the options say of commands.
#[derive(Debug)]
pub struct Orders {
    commands: Vec<Command>,
    /// Do not ask.
    is_sure: bool,
    /// The address that is meant, of several.
    only: Option<Vec<u8>>,
    /// The hook will be called.
    is_called: bool,
}

impl Orders {
    pub const fn new() -> Orders {
        Orders {
            commands: Vec::new(),
            is_sure: false,
            only: None,
            is_called: false,
        }
    }

    /// Takes the address that is meant. Returns as [`Orders::take`] does.
    pub fn take_only(&mut self, value: Vec<u8>) -> bool {
        self.only = Some(value);
        self.call(false)
    }

    /// Takes one of the options. Returns whether the hook has to be called, which it has to be once.
    pub fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        if order::is_off(value) {
            return false;
        }
        let command = match name {
            name if name == CHECK.to_bytes() => Command::Check,
            name if name == CHECK_JSON.to_bytes() => Command::CheckJson,
            name if name == SWITCH.to_bytes() => Command::Change(Change::Switch),
            name if name == UNROUTE.to_bytes() => Command::Change(Change::Unroute),
            name if name == YES.to_bytes() => {
                self.is_sure = true;
                return self.call(false);
            }
            _ => return false,
        };
        if !self.commands.contains(&command) {
            self.commands.push(command);
        }
        self.call(command == Command::CheckJson)
    }

    /// From the first of the options on, the process does not serve: one that only goes with a
    /// command would otherwise start a second instance beside the running one.
    fn call(&mut self, is_json: bool) -> bool {
        guard::stand(is_json);
        !std::mem::replace(&mut self.is_called, true)
    }
}

/// Called when the plugin is loaded. A mistake between here and the option of a command ends uWSGI as
/// well.
pub fn expect() {
    if let Some(is_json) = early::is_json() {
        guard::stand(is_json);
    }
}

/// Called when all options have been read, and none was that of a command.
pub fn expect_none() {
    guard::stand_down();
}

/// Runs the command, and ends the process with its status.
pub fn run(orders: &Orders, options: &Options) -> ! {
    process::restore_signals();
    process::quit(match orders.commands[..] {
        [Command::Check] => check(options, false),
        [Command::CheckJson] => check(options, true),
        [Command::Change(change)] => switch::run(change, orders.only.as_deref(), orders.is_sure),
        [] => {
            log!(
                NAME,
                "ERROR hetzner-yes and hetzner-only do nothing by themselves: add hetzner-switch or \
                 hetzner-unroute"
            );
            1
        }
        _ => {
            log!(
                NAME,
                "ERROR hetzner-check, hetzner-check-json, hetzner-switch and hetzner-unroute exclude \
                 each other: give one of them"
            );
            1
        }
    })
}

/// Reports on standard output. Returns the exit status.
fn check(options: &Options, is_json: bool) -> i32 {
    let is_coloured = !is_json && io::stdout().is_terminal();
    let mut human = human::Report::new(is_coloured);
    let mut tally = Tally::default();
    let mut facts = Vec::new();
    let mut printed = Ok(());
    let mut sink = |fact: Fact| {
        tally.count(&fact);
        match is_json {
            true => facts.push(fact),
            false if printed.is_ok() => printed = try_print(&human.add(&fact).join("\n")),
            false => {}
        }
    };
    match rights::take() {
        Ok(()) => check::check(options, &History::default(), &mut sink),
        Err(error) => sink(Fact {
            place: Place::default(),
            fact: Topic::Configuration,
            level: Level::Error,
            text: error.to_string(),
        }),
    }
    let end = match is_json {
        true => json::report(&facts),
        false => human.end(&tally).join("\n"),
    };
    match printed.and_then(|()| try_print(&end)) {
        Ok(()) => i32::from(tally.errors > 0),
        Err(error) => {
            log!(NAME, "ERROR the report cannot be printed: {error}");
            1
        }
    }
}

/// Logs the same report as [`Command::Check`] prints, on a thread of its own.
///
/// # Errors
/// The kernel gives no thread.
pub fn log_check(options: Options, history: Arc<History>) -> io::Result<()> {
    isolation::spawn("check", move || {
        let mut tally = Tally::default();
        check::check(&options, &history, &mut |fact: Fact| {
            tally.count(&fact);
            log!("hetzner-check", "{}", log_line(&fact));
        });
        log!("hetzner-check", "{}", tally.summary());
    })
    .map(|_| ())
}

/// A fact in one line.
fn log_line(fact: &Fact) -> String {
    let level = match fact.level {
        Level::Ok => "ok",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    let place = match fact.place.title() {
        title if title.is_empty() => String::new(),
        title => format!("{title}, "),
    };
    format!("{level} {place}{}: {}", fact.fact.name(), fact.text)
}

/// Prints a line, or several. Nobody is left to be told if that fails.
fn print(text: &str) {
    let _ = try_print(text);
}

/// Prints a line, or several.
///
/// # Errors
/// Standard output cannot be written to.
fn try_print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}
