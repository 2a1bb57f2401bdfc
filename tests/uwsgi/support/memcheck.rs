//! Runs uWSGI under valgrind's memcheck, and reads the reports.
//!
//! `make memcheck` runs all tests with every uWSGI under memcheck (`MEMCHECK_REPORTS` is the
//! directory of the reports): no test may fail, and no report may contain an error. The plugin needs
//! symbols, because errors to ignore are recognised by their functions (`memcheck.supp`).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Test;

/// Memcheck's text about one error.
pub type Finding = String;

const SUPPRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/uwsgi/support/memcheck.supp"
);

/// Tests that prove nothing under memcheck, by the beginning of their names, and why.
const NOT_UNDER_MEMCHECK: &[(&str, &str)] = &[
    (
        "soak_",
        "compares resident memory, most of which is memcheck's",
    ),
    (
        "build_",
        "starts no uWSGI, or one that another test starts too",
    ),
    ("valgrind_", "uses memcheck itself"),
    (
        "secrets_are_wiped_where_memory_is_locked",
        "memcheck does not know mlock2, which is then refused",
    ),
    (
        "hooks_are_left_alone_by_children_that_end",
        "memcheck ends a process that cannot become another program in its own way",
    ),
    (
        "config_from_the_environment",
        "a shell, as the wrapper is, gives variables in another order",
    ),
];

/// The directory of the reports, if all uWSGIs are to run under memcheck.
pub fn reports() -> Option<PathBuf> {
    std::env::var_os("MEMCHECK_REPORTS").map(PathBuf::from)
}

/// The tests that run: all, or those that prove something under memcheck.
pub fn select(tests: Vec<Test>) -> Vec<Test> {
    let is_left_out = |name: &str| {
        let mut beginnings = NOT_UNDER_MEMCHECK.iter().map(|(beginning, _)| beginning);
        reports().is_some() && beginnings.any(|beginning| name.starts_with(beginning))
    };
    let tests = tests.into_iter();
    tests.filter(|(name, _)| !is_left_out(name)).collect()
}

/// The program to start: this uWSGI, or a script that runs it under memcheck.
pub fn maybe_wrapped(label: &str, uwsgi: &Path) -> PathBuf {
    let Some(directory) = reports() else {
        return uwsgi.into();
    };
    let suppressions = format!("--suppressions={SUPPRESSIONS}");
    let own = directory.join(label);
    std::fs::create_dir_all(&own).expect("the reports' directory can be made");
    wrapper(&own, &directory.join("%p.report"), uwsgi, &[&suppressions])
}

/// A script that runs uWSGI under memcheck. Forked workers report nothing.
pub fn wrapper(directory: &Path, report: &Path, uwsgi: &Path, options: &[&str]) -> PathBuf {
    let version = Command::new("valgrind").arg("--version").output();
    assert!(
        version.is_ok_and(|output| output.status.success()),
        "valgrind is missing: install it with your system's packages, or run `make test`"
    );
    let wrapper = directory.join("uwsgi");
    let script = format!(
        "#!/bin/sh\nexec valgrind --leak-check=full --show-leak-kinds=definite --num-callers=50 \
         --child-silent-after-fork=yes --log-file={} {} {} \"$@\"\n",
        report.display(),
        options.join(" "),
        uwsgi.display()
    );
    // Another test may be starting it, so it must never be incomplete or open for writing.
    let new = tempfile::NamedTempFile::new_in(directory).expect("a temporary file");
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
    new.into_temp_path().persist(&wrapper).unwrap();
    wrapper
}

/// The findings of a report: all errors, and the plugin's leaks. uWSGI leaks what it needs for as
/// long as it runs.
pub fn findings(report: &str) -> Vec<Finding> {
    // ==pid== text
    let text = |line: &str| {
        line.splitn(3, "==")
            .nth(2)
            .unwrap_or(line)
            .trim_end()
            .to_string()
    };
    let lines: Vec<String> = report.lines().map(text).collect();
    let blocks = lines.split(|line| line.is_empty());
    blocks
        .filter(|block| {
            block
                .iter()
                .any(|line| line.trim_start().starts_with("at 0x"))
        })
        .map(|block| block.join("\n"))
        .filter(|block| !block.contains("definitely lost") || is_ours(block))
        .collect()
}

/// Whether a stack leads through the plugin: it names its file, or a function as only Rust has them.
fn is_ours(block: &str) -> bool {
    block.contains("hetzner_plugin") || block.contains("::")
}

/// The findings of a report from a whole run, in which tests may end while a uWSGI still starts.
/// What an interrupted uWSGI leaks means nothing.
fn of_a_run(report: &str) -> Vec<Finding> {
    const INTERRUPTED: &str = "Process terminating with default action of signal 2 ";
    let was_interrupted = report.contains(INTERRUPTED);
    let is_meaningful = |finding: &Finding| {
        !was_interrupted || !(finding.contains("definitely lost") || finding.contains(INTERRUPTED))
    };
    findings(report).into_iter().filter(is_meaningful).collect()
}

/// Reads all reports of a run, and returns whether nothing was found. Nearly all uWSGIs must have ended by
/// themselves, because one that is killed reports errors but no leaks.
pub fn judge(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).expect("the reports can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let reports: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "report"))
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("a report")).into_owned())
        .collect();
    let found: Vec<Finding> = reports.iter().flat_map(|report| of_a_run(report)).collect();
    let ended = reports
        .iter()
        .filter(|report| report.contains("HEAP SUMMARY"));
    let ended = ended.count();
    for finding in &found {
        eprintln!("memcheck: ERROR {finding}\n");
    }
    eprintln!(
        "memcheck: {} uWSGIs ran, {ended} of them to their own end; {} errors and leaks",
        reports.len(),
        found.len()
    );
    found.is_empty() && ended > 0 && ended * 20 >= reports.len() * 19
}
