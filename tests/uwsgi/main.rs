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
    // The tests wait far more than they work.
    arguments.test_threads.get_or_insert(40);
    let contexts = Context::all();
    let trials = alternate(contexts.iter().map(trials).collect());
    let conclusion = libtest_mimic::run(&arguments, trials);
    context::report_not_run(&contexts);
    match memcheck::reports() {
        Some(reports) if !memcheck::judge(&reports) => ExitCode::FAILURE,
        Some(_) | None => conclusion.exit_code(),
    }
}

/// All tests for a uWSGI, those that wait longest first, so that none of them is the last to end.
fn trials(context: &Context) -> Vec<Trial> {
    let mut tests = [
        slow::TESTS,
        runbook::optional_tests(),
        cloud::metadata::optional_tests(),
        watch::TESTS,
        cloud::legion::TESTS,
        standing::TESTS,
        metrics::TESTS,
        rows::TESTS,
        several::TESTS,
        boot::TESTS,
        legion::TESTS,
        signals::TESTS,
        hooks::TESTS,
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
    ]
    .concat();
    if older::plugin().is_some() {
        tests.extend(older::TESTS);
    }
    tests.extend(metrics::optional_tests(context));
    if context.is_our_own() {
        tests.extend([valgrind::TESTS, build::TESTS].concat());
    }
    memcheck::select(tests)
        .into_iter()
        .map(|(name, test)| trial(context, name, test))
        .collect()
}

/// The first of each list, then the second of each, and so on.
fn alternate(lists: Vec<Vec<Trial>>) -> Vec<Trial> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(lists.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
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
