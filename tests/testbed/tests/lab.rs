//! The lab works, and leaves nothing behind however it ends. As root only.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use testbed::uwsgi::{PATIENCE, process};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() -> ExitCode {
    let missing = missing();
    if let Some(missing) = &missing {
        eprintln!("*** NOT RUN: the tests of the lab, because {missing}. ***");
    }
    let signals = [
        ("sigint", libc::SIGINT),
        ("sigterm", libc::SIGTERM),
        ("sighup", libc::SIGHUP),
        ("sigkill", libc::SIGKILL),
    ];
    let mut trials = vec![Trial::test(
        "a_client_is_answered_by_the_next_server",
        || {
            a_client_is_answered_by_the_next_server();
            Ok(())
        },
    )];
    trials.extend(signals.map(|(name, signal)| {
        Trial::test(format!("nothing_is_left_behind_after_{name}"), move || {
            nothing_is_left_behind_after(signal);
            Ok(())
        })
    }));
    let trials = trials
        .into_iter()
        .map(|trial| trial.with_ignored_flag(missing.is_some()));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Why the lab cannot be run here.
fn missing() -> Option<String> {
    let (uwsgi, plugins) = (uwsgi(), plugins());
    for file in [&uwsgi, &plugins.join("hetzner_plugin.so")] {
        if !file.is_file() {
            return Some(format!("there is no {}: run `make test`", file.display()));
        }
    }
    let tried = Command::new(env!("CARGO_BIN_EXE_demo")).arg("try").output();
    let tried = tried.expect("the lab has been built");
    let errors = String::from_utf8_lossy(&tried.stderr);
    (!tried.status.success()).then(|| errors.trim().to_owned())
}

fn uwsgi() -> PathBuf {
    Path::new(ROOT).join("target/uwsgi/2.0.31/uwsgi")
}

/// The directory with the plugin.
fn plugins() -> PathBuf {
    let plugin = std::env::var_os("HETZNER_PLUGIN").map(PathBuf::from);
    let directory = plugin.and_then(|plugin| Some(plugin.parent()?.to_owned()));
    directory.unwrap_or_else(|| Path::new(ROOT).join("target/plugin"))
}

/// Starts the lab with an empty directory for its temporary files.
fn start(directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("short")
        .args([uwsgi(), plugins()])
        .env("TMPDIR", directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the lab has been built")
}

fn a_client_is_answered_by_the_next_server() {
    let directory = tempfile::tempdir().unwrap();
    let output = start(directory.path()).wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{printed}");
    assert!(
        printed.contains("--hetzner-check, no route leads"),
        "{printed}"
    );
}

fn nothing_is_left_behind_after(signal: i32) {
    let directory = tempfile::tempdir().unwrap();
    let before = Traces::of_this_machine();
    let mut lab = start(directory.path());
    let lines = BufReader::new(lab.stderr.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap_or_default());
    assert!(lines.any(|line| line.contains("server 1 loses its power")));
    let family = process::family(lab.id());
    let servers = family.iter().filter(|pid| name(**pid) == "uwsgi").count();
    assert!(servers >= 6, "{servers} processes of servers");

    // SAFETY: it has not been waited for.
    unsafe { libc::kill(lab.id() as i32, signal) };
    let status = lab.wait().unwrap();
    match signal {
        libc::SIGKILL => assert_eq!(status.signal(), Some(signal)),
        _ => assert_eq!(status.code(), Some(128 + signal)),
    }
    // The kernel ends what a killed lab leaves to it, a moment later.
    let give_up = Instant::now() + PATIENCE;
    while signal == libc::SIGKILL && family.iter().any(|pid| is_there(*pid)) {
        assert!(
            Instant::now() < give_up,
            "some of {family:?} are still there"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let left: Vec<u32> = family.into_iter().filter(|pid| is_there(*pid)).collect();
    assert!(left.is_empty(), "{left:?} are still there");
    // The next line of a lab that goes on.
    let rest: Vec<String> = lines.collect();
    let goes_on = rest.iter().any(|line| line.contains("answered"));
    assert!(!goes_on, "it went on: {rest:?}");
    assert_eq!(entries(directory.path()), BTreeSet::new());
    assert_eq!(Traces::of_this_machine(), before);
}

fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.unwrap_or_default().trim().to_owned()
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// What the lab could leave outside its namespaces.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    devices: BTreeSet<String>,
    mounts: BTreeSet<String>,
    named_namespaces: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Traces {
    fn of_this_machine() -> Traces {
        let devices = fs::read_to_string("/proc/net/dev").unwrap();
        let devices = devices.lines().filter_map(|line| line.split_once(':'));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        // Inside, /run is where temporary files are.
        let is_temporary = |name: &String| {
            [".tmp", "robot-"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        Traces {
            devices: devices.map(|(name, _)| name.trim().to_owned()).collect(),
            mounts: mounts.lines().map(str::to_owned).collect(),
            named_namespaces: entries(Path::new("/run/netns")),
            files: entries(Path::new("/run"))
                .into_iter()
                .filter(is_temporary)
                .collect(),
        }
    }
}

fn entries(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}
