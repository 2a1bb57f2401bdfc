//! Each command that a document shows is run by a test, or is listed in `TABLE` with the reason why not.

mod namespaces;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use How::{As, By, Here, NotRun};
use libtest_mimic::{Arguments, Trial};
use namespaces::{ADDRESSES, BY_HAND, FILES, FIREWALL, ROBOT, TESTS, Test, is_there};
use testbed::document::{self, Command};

/// How a command is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// By the test in `namespaces.rs` that has this name, which takes the text from the document.
    Here(&'static str),
    /// By a file that contains this text, apart from comments.
    By(&'static str, &'static str),
    /// As a command of that document, which shows it in the same words.
    As(&'static str),
    /// Not at all, for this reason.
    NotRun(&'static str),
}

/// All commands of a document that are not listed by themselves.
const ALL_OTHERS: &str = "";

const RUNBOOK: &str = "docs/operations.md";
const BUILD: How = By("tests/uwsgi/build.rs", "fn build_as_documented(");
/// `make fresh`, which takes the commands from the document.
const REHEARSAL: How = By("tests/fresh.sh", "run by tests\\/fresh.sh -->$/,");
const SYSTEMD: How = NotRun("it needs systemd");
const FUZZ: How = NotRun("it needs a nightly compiler and cargo-fuzz, and does not end");

#[rustfmt::skip] // one line each
const TABLE: &[(&str, &[(&str, How)])] = &[
    ("README.md", &[
        ("make demo", By(".ci/run", "make demo")),
        ("make test", By(".ci/run", "make test")),
        ("make deb", By(".ci/run", "make deb")),
        ("apt-get install ./uwsgi-plugin-hetzner_*.deb", By("tests/deb.sh", "apt install -y --no-install-recommends \"$work/package.deb\"")),
        ("make install", By("tests/packaging.sh", "make install")),
    ]),
    ("ARCHITECTURE.md", &[
        ("make test", By(".ci/run", "make test")),
        ("cargo test --lib", By("tests/run.sh", "cargo test --workspace")),
        ("cargo test --test uwsgi -- row_401", By("tests/uwsgi/rows.rs", "fn row_401")),
        ("cargo test --test uwsgi -- --list", NotRun("it lists the tests, and runs none")),
        ("cargo run -q -p testbed --bin robot -- --port 8443 --ca-file /tmp/ca.pem --switch-time 5", Here(ROBOT)),
    ]),
    ("CONTRIBUTING.md", &[
        ("make test", By(".ci/run", "make test")),
        ("make check", By(".ci/run", "make check")),
        ("make memcheck", NotRun("it takes ten minutes")),
        ("cargo +nightly fuzz run keyval", FUZZ),
        ("cargo +nightly fuzz run answer", FUZZ),
    ]),
    ("docs/building.md", &[
        ("cargo build --release", Here(BY_HAND)),
        ("install -m 644 target/release/libhetzner_plugin.so /usr/lib/uwsgi/plugins/hetzner_plugin.so", Here(BY_HAND)),
        ("PYTHON=python3 uwsgi --build-plugin /path/to/uwsgi-hetzner", BUILD),
        ("env -u UWSGI_INI PYTHON=python3 uwsgi --build-plugin /path/to/uwsgi-hetzner", BUILD),
    ]),
    ("docs/configuration.md", &[
        ("uwsgi --ini FILE --hetzner-check", By("tests/uwsgi/command.rs", "\"--hetzner-check\"")),
        ("uwsgi --ini FILE --hetzner-switch", By("tests/uwsgi/by_hand.rs", "\"--hetzner-switch\"")),
    ]),
    ("docs/deployment.md", &[
        ("apt-get install --no-install-recommends ca-certificates cargo dpkg-dev gcc git libc6-dev make python3", REHEARSAL),
        ("make deb", REHEARSAL),
        ("apt-get install ./target/dist/uwsgi-plugin-hetzner_*.deb", REHEARSAL),
        ("make mock", REHEARSAL),
        ("systemctl start uwsgi-failover", REHEARSAL),
        ("ip address add 4.4.4.4/32 dev enp0s31f6", Here(ADDRESSES)),
        ("ip address add 2a01:4f8:fff1::1/128 dev enp0s31f6 preferred_lft 0", Here(ADDRESSES)),
        ("install -m 644 hetzner_plugin.so /usr/lib/uwsgi/plugins/", Here(FILES)),
        ("install -D -m 644 -t /usr/local/share/man/man7 uwsgi-hetzner.7", Here(FILES)),
        ("install -m 644 uwsgi-failover.service /etc/systemd/system/", Here(FILES)),
        ("install -d /etc/uwsgi-failover", Here(FILES)),
        ("install -m 600 uwsgi.ini /etc/uwsgi-failover/", Here(FILES)),
        ("install -m 600 /dev/null /etc/uwsgi-failover/password", Here(FILES)),
        ("systemctl daemon-reload", SYSTEMD),
        ("editor /etc/uwsgi-failover/password", NotRun("it needs somebody who types")),
        ("nft add rule inet filter input ip saddr '{ 2.2.2.2, 3.3.3.3 }' udp dport 2000 accept", Here(FIREWALL)),
        ("nft add rule inet filter input udp dport 2000 drop", Here(FIREWALL)),
        ("CREDENTIALS_DIRECTORY=/etc/uwsgi-failover uwsgi-core --ini /etc/uwsgi-failover/uwsgi.ini --hetzner-check", As(RUNBOOK)),
        ("systemctl enable --now uwsgi-failover", As(RUNBOOK)),
        ("journalctl -fu uwsgi-failover", SYSTEMD),
    ]),
    (RUNBOOK, &[
        ("systemctl status uwsgi-failover", SYSTEMD),
        ("journalctl -u uwsgi-failover --since=-1h", SYSTEMD),
        (ALL_OTHERS, By("tests/uwsgi/runbook.rs", "docs/operations.md")),
    ]),
];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let inventory: Test = ("each_command_is_listed", &[], each_command_is_listed);
    let trials = TESTS
        .iter()
        .chain([&inventory])
        .map(|&(name, needs, test)| {
            let missing = needs.iter().find(|need| !is_there(need));
            if let Some(missing) = missing {
                eprintln!("*** NOT RUN: {name}, because there is no `{missing}` here. ***");
            }
            let run = move || {
                test();
                Ok(())
            };
            Trial::test(name, run).with_ignored_flag(missing.is_some())
        });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All Markdown files below a directory, relative to the repository.
fn documents(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(directory)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = directory.join(&name);
        let is_directory = entry.file_type().unwrap().is_dir();
        if is_directory && name != "target" && !name.starts_with('.') {
            found.extend(documents(&path));
        } else if !is_directory && name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// How a command of a document is run, if it is listed.
fn listed(document: &str, command: &str) -> Option<How> {
    let (_, rows) = TABLE.iter().find(|(name, _)| *name == document)?;
    let row = rows.iter().find(|(text, _)| *text == command);
    let row = row.or_else(|| rows.iter().find(|(text, _)| *text == ALL_OTHERS));
    row.map(|(_, how)| *how)
}

fn each_command_is_listed() {
    let program = |text: &'static str| text.split(' ').next();
    let rows = TABLE.iter().flat_map(|(_, rows)| *rows);
    let programs: BTreeSet<&str> = rows.filter_map(|(text, _)| program(text)).collect();
    let mut mistakes = Vec::new();
    let mut shown = BTreeSet::new();
    for path in documents(Path::new("")) {
        let document = path.display().to_string();
        let found = document::commands(&read(&document));
        for (line, text) in found.unlabelled {
            if programs.contains(text.split(' ').next().unwrap_or_default()) {
                let advice = "label the block of this command with `sh`";
                mistakes.push(format!("{document}:{line}: `{text}`: {advice}"));
            }
        }
        for command in found.commands {
            let advice = match listed(&document, &command.text) {
                None => "run it in a test and list it in TABLE, or list it there as NotRun",
                // The runbook decides by these comments.
                Some(NotRun(_)) if document == RUNBOOK && !command.is_left_out => {
                    "it is run, as it has no comment `not run`, but it is NotRun in TABLE"
                }
                Some(Here(_) | By(..) | As(_)) if command.is_left_out => {
                    "it has the comment `not run`: list it in TABLE as NotRun"
                }
                Some(_) => "",
            };
            if !advice.is_empty() {
                let Command { line, text, .. } = &command;
                mistakes.push(format!("{document}:{line}: `{text}`: {advice}"));
            }
            shown.insert((document.clone(), command.text));
        }
    }
    for &(document, rows) in TABLE {
        for &(text, how) in rows {
            let at = format!("TABLE, {document}: `{text}`");
            if text != ALL_OTHERS && !shown.contains(&(document.into(), text.into())) {
                mistakes.push(format!(
                    "{at}: the document does not show it: remove this row"
                ));
            }
            mistakes.extend(wrong(text, how).map(|reason| format!("{at}: {reason}")));
        }
    }
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
    assert!(shown.len() > 40, "{} commands", shown.len());
}

/// Why a command is not run as its row says.
fn wrong(command: &str, how: How) -> Option<String> {
    match how {
        NotRun(_) => None,
        Here(test) => {
            let is_test = TESTS.iter().any(|(name, ..)| *name == test);
            (!is_test).then(|| format!("there is no test {test} in TESTS"))
        }
        By(file, text) => {
            let content = read(file);
            let mut code = content.lines().filter(|line| !line.trim().starts_with('#'));
            let is_run = code.any(|line| line.contains(text));
            (!is_run).then(|| format!("{file} does not contain `{text}`: name what runs it"))
        }
        As(document) => {
            let found = document::commands(&read(document)).commands;
            let mut same = found.iter().filter(|other| other.text == command);
            let is_run = same.any(|other| !other.is_left_out);
            (!is_run).then(|| format!("{document} does not show it, or it is not run there"))
        }
    }
}
