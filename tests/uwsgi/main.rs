//! The plugin in a real uWSGI, against the mock Robot.
//!
//! Every test runs once for each uWSGI. `UWSGI_BINARIES`, a list of `label=path` separated by `:`,
//! specifies which ones must exist. Without it, the one that `make test` builds is used if it exists;
//! otherwise nothing here runs, and a message says so. The plugin is `HETZNER_PLUGIN`, or else the
//! one that cargo has just built.

/// A table of tests, each with the name of its function.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        &[$((stringify!($test), $test)),*]
    };
}

mod boot;
mod build;
mod by_hand;
mod cloud;
mod command;
mod framing;
mod hooks;
mod hostile;
mod injection;
mod kvlist;
mod legion;
mod metrics;
mod older;
mod proxy;
mod rows;
mod runbook;
mod secrets;
mod several;
mod signals;
mod slow;
mod soak;
mod standing;
mod support;
mod transport;
mod valgrind;
mod watch;

use std::process::ExitCode;

use context::Context;
use libtest_mimic::{Arguments, Trial};
use support::{attacks, cluster, context, driver, memcheck, pty};

/// A test: its name, and what it does with a uWSGI.
type Test = (&'static str, fn(&Context));

fn main() -> ExitCode {
    if let Some(code) = runbook::inside().or_else(cloud::metadata::inside) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // They wait far more than they work.
    arguments.test_threads.get_or_insert(48);
    let contexts = Context::all();
    let trials = spread(contexts.iter().flat_map(trials).collect());
    let conclusion = libtest_mimic::run(&arguments, trials);
    context::report_not_run(&contexts);
    match memcheck::reports() {
        Some(reports) if !memcheck::judge(&reports) => ExitCode::FAILURE,
        Some(_) | None => conclusion.exit_code(),
    }
}

/// The tests for a uWSGI: those that mostly wait, the longest first, and those that keep the processor busy.
fn trials(context: &Context) -> [Vec<Trial>; 2] {
    let waiting = [
        slow::TESTS,
        watch::TESTS,
        standing::TESTS,
        cloud::legion::TESTS,
        runbook::optional_tests(),
        cloud::metadata::optional_tests(),
        metrics::TESTS,
        metrics::optional_tests(context),
        rows::TESTS,
        legion::TESTS,
        hooks::TESTS,
    ];
    let mut working = vec![
        several::TESTS,
        boot::TESTS,
        signals::TESTS,
        secrets::TESTS,
        hostile::TESTS,
        framing::TESTS,
        injection::TESTS,
        kvlist::TESTS,
        transport::TESTS,
        proxy::TESTS,
        soak::TESTS,
        command::TESTS,
        by_hand::TESTS,
        cloud::rows::TESTS,
        cloud::moves::TESTS,
        cloud::alias::TESTS,
        cloud::boot::TESTS,
        cloud::secrets::TESTS,
        cloud::by_hand::TESTS,
    ];
    if older::plugin().is_some() {
        working.push(older::TESTS);
    }
    if context.is_our_own() {
        working.extend([valgrind::TESTS, build::TESTS]);
    }
    [waiting.concat(), working.concat()].map(|tests| {
        memcheck::select(tests)
            .into_iter()
            .map(|(name, test)| trial(context, name, test))
            .collect()
    })
}

/// One list, over which each of these is spread evenly.
fn spread(lists: Vec<Vec<Trial>>) -> Vec<Trial> {
    let mut all: Vec<(f64, Trial)> = Vec::new();
    for list in lists {
        let length = list.len() as f64;
        let places = (0..list.len()).map(|index| index as f64 / length);
        all.extend(places.zip(list));
    }
    all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    all.into_iter().map(|(_, trial)| trial).collect()
}

fn trial(context: &Context, name: &str, test: fn(&Context)) -> Trial {
    let full_name = format!("uwsgi_{}::{name}", context.label);
    let is_there = context.is_there();
    let context = context.clone();
    Trial::test(full_name, move || {
        test(&context);
        Ok(())
    })
    .with_ignored_flag(!is_there && !context::is_required())
}
