//! The runbook, `docs/operations.md`, is carried out: each command in it is run, in its order, on three
//! servers and against the mock Robot, and what it shows is what was seen.
//!
//! This happens in a network of its own, where the addresses and the names are those of the document.
//! `systemctl` is a script that starts and stops a node. Comments before a block say what to do with it:
//!
//! - `<!-- not run: REASON -->`: this command is not run,
//! - `<!-- on server 2 -->`, `<!-- on servers 3, 2 -->`: where it is run; otherwise on server 1,
//! - `<!-- log of server 2 -->`: these lines appear in its log, in this order, after those of the block
//!   before; lines about waiting are left out,
//! - `<!-- in uwsgi.ini of server 1 -->`: these lines are in its configuration.
//!
//! A block `text` is what the command before it prints. Times, and what else depends on the machine, are
//! masked.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use testbed::robot::{Robot, Settings};
use testbed::uwsgi::PATIENCE;

use crate::Test;
use crate::context::{Context, ip, robot_with};

const TESTS: &[Test] = tests![runbook_is_carried_out];

/// Set in the process that carries it out: the uWSGI.
const UWSGI: &str = "RUNBOOK_UWSGI";
/// The directory with the plugin.
const PLUGINS: &str = "RUNBOOK_PLUGINS";

const DOCUMENT: &str = include_str!("../../docs/operations.md");
const INI: &str = include_str!("../../packaging/uwsgi.ini");
const SERVERS: [&str; 3] = ["1.1.1.1", "2.2.2.2", "3.3.3.3"];

pub const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// A network, mounts and processes of one's own.
pub const NAMESPACES: [&str; 7] = [
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--uts",
    "--pid",
    "--mount-proc",
];

/// The text between `begin` and `end` depends on the machine, or the time.
const MASKS: [(&str, &str); 8] = [
    ("(after ", " s"),
    ("connected to ", ";"),
    ("is an address of this host (", ")"),
    ("is configured on ", " "),
    ("to the webservice from ", ","),
    ("last_takeover_ms ", " "),
    ("last_takeover_time ", " "),
    ("last_seen_ok_time ", " "),
];

/// Starts and stops the node of the server `$SERVER`, in the directory `$LAB`.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -e
directory=$LAB/server$SERVER
case "$*" in
    'start uwsgi-failover' | 'enable --now uwsgi-failover')
        rm -f "$directory/pid"
        # In a session of its own, so that the end of this terminal does not end it.
        CREDENTIALS_DIRECTORY=$directory setsid --fork unshare --uts sh -c \
            'hostname "$1"; echo $$ >"$2/pid"; exec uwsgi-core --ini "$2/uwsgi.ini"' \
            sh "server$SERVER" "$directory" >>"$directory/log" 2>&1 </dev/null
        until [ -s "$directory/pid" ]; do sleep 0.05; done
        ;;
    'stop uwsgi-failover' | 'disable --now uwsgi-failover')
        kill -INT "$(cat "$directory/pid")"
        # One that has ended may not have been waited for.
        while grep -q '^State:.[^Z]' "/proc/$(cat "$directory/pid")/status" 2>/dev/null; do sleep 0.05; done
        ;;
    'kill --signal=STOP uwsgi-failover') kill -STOP "$(cat "$directory/pid")" ;;
    'kill --signal=CONT uwsgi-failover') kill -CONT "$(cat "$directory/pid")" ;;
    *) echo "systemctl: $*?" >&2; exit 1 ;;
esac
"#;

/// The test, where it can be run. Says so where it cannot.
pub fn optional_tests() -> &'static [Test] {
    let can = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    let namespaces = [&NAMESPACES[..], &["--fork", "true"]].concat();
    let missing = [
        ("namespaces", can("unshare", &namespaces)),
        ("ip", can("ip", &["-V"])),
        ("curl", can("curl", &["--version"])),
        ("jq", can("jq", &["--version"])),
        ("script", can("script", &["--version"])),
    ];
    let missing: Vec<&str> = (missing.iter().filter(|(_, is_there)| !is_there))
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return TESTS;
    }
    let missing = missing.join(", ");
    eprintln!("*** NOT RUN: runbook_is_carried_out, because there is no {missing} here. ***");
    &[]
}

/// This program runs itself in namespaces.
fn runbook_is_carried_out(context: &Context) {
    let launch = context.launch();
    let mut command = Command::new("unshare");
    // uWSGI would take the first as an option; the others are of the caller's network.
    for variable in ["UWSGI_BINARIES", "NOTIFY_SOCKET"].iter().chain(&PROXIES) {
        command.env_remove(variable);
    }
    let output = command
        .args(NAMESPACES)
        .args(["--fork", "--kill-child"])
        .arg(std::env::current_exe().expect("the test has a path"))
        .env(UWSGI, &launch.uwsgi)
        .env(PLUGINS, launch.plugins_dir.expect("there is a plugin"))
        .output()
        .expect("unshare runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// In the namespaces: carries the runbook out. `None` anywhere else.
pub fn inside() -> Option<ExitCode> {
    let uwsgi = std::env::var(UWSGI).ok()?;
    let plugins = std::env::var(PLUGINS).expect("both are set");
    let blocks = blocks(DOCUMENT);
    let lab = Lab::new(&uwsgi, &plugins, &blocks);
    for server in 1..=SERVERS.len() {
        lab.run("systemctl start uwsgi-failover", server);
    }
    lab.carry_out(&blocks);
    Some(ExitCode::SUCCESS)
}

#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// A command, the servers that it is run on, and what it prints, if that is shown.
    Run {
        line: usize,
        command: String,
        servers: Vec<usize>,
        shown: Option<String>,
    },
    Log {
        line: usize,
        server: usize,
        lines: Vec<String>,
    },
    Ini {
        server: usize,
        lines: String,
    },
}

/// What is to be done, in the order of the document.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut comment = "";
    let mut lines = (1..).zip(document.lines());
    while let Some((line, text)) = lines.next() {
        if let Some(language) = text.strip_prefix("```") {
            let inner = lines.by_ref().map(|(_, text)| text);
            let inner: Vec<&str> = inner.take_while(|text| *text != "```").collect();
            let numbers = || -> Vec<usize> {
                let words = comment.split([' ', ',']);
                words.filter_map(|word| word.parse().ok()).collect()
            };
            match (language, comment) {
                ("sh", reason) if reason.starts_with("not run: ") => {}
                ("sh", place) => {
                    assert!(
                        place.is_empty() || place.starts_with("on server"),
                        "{place}"
                    );
                    blocks.push(Block::Run {
                        line,
                        command: inner.join("\n"),
                        servers: match place {
                            "" => vec![1],
                            _ => numbers(),
                        },
                        shown: None,
                    });
                }
                ("text", "") => match blocks.last_mut() {
                    Some(Block::Run { shown, .. }) => *shown = Some(inner.join("\n")),
                    _ => panic!("line {line}: no command comes before this output"),
                },
                (_, place) if place.starts_with("log of server ") => blocks.push(Block::Log {
                    line,
                    server: numbers()[0],
                    lines: inner.into_iter().map(String::from).collect(),
                }),
                (_, place) if place.starts_with("in uwsgi.ini of server ") => {
                    let lines = inner.join("\n");
                    let server = numbers()[0];
                    blocks.push(Block::Ini { server, lines });
                }
                (_, "") => {}
                (_, other) => panic!("line {line}: `{other}` is not known"),
            }
            comment = "";
        } else if let Some(rest) = text.strip_prefix("<!-- ") {
            comment = rest.strip_suffix(" -->").unwrap_or("not closed");
        }
    }
    blocks
}

/// Three servers and the mock Robot.
struct Lab {
    directory: tempfile::TempDir,
    robot: Robot,
}

impl Lab {
    fn new(uwsgi: &str, plugins: &str, blocks: &[Block]) -> Lab {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        system("ip", &["link", "set", "lo", "up"]);
        for address in SERVERS.iter().chain(&["4.4.4.4"]) {
            system(
                "ip",
                &["address", "add", &format!("{address}/32"), "dev", "lo"],
            );
        }
        let hosts = path("hosts");
        fs::write(&hosts, "127.0.0.1 localhost robot-ws.your-server.de\n").unwrap();
        system(
            "mount",
            &["--bind", &hosts.display().to_string(), "/etc/hosts"],
        );
        let robot = robot_with(|settings: &mut Settings| {
            settings.address = "127.0.0.1:443".parse().expect("an address");
            settings.servers = SERVERS.iter().map(|server| ip(server)).collect();
            settings.switch_time = Duration::from_secs(1);
            settings.failovers = vec![(ip("4.4.4.4"), Some(ip("2.2.2.2")))];
        });
        let lab = Lab { directory, robot };
        fs::create_dir(lab.path("bin")).unwrap();
        let start = format!("#!/bin/sh\nexec {uwsgi} --plugins-dir {plugins} \"$@\"\n");
        for (name, script) in [("uwsgi-core", start.as_str()), ("systemctl", SYSTEMCTL)] {
            let script_path = lab.path("bin").join(name);
            fs::write(&script_path, script).unwrap();
            fs::set_permissions(&script_path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for server in 1..=SERVERS.len() {
            lab.set_up(server, blocks);
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Fills in the configuration that the package brings.
    fn set_up(&self, server: usize, blocks: &[Block]) {
        let directory = self.path(&format!("server{server}"));
        fs::create_dir(&directory).unwrap();
        let own = SERVERS[server - 1];
        let others: Vec<&str> = SERVERS.into_iter().filter(|other| *other != own).collect();
        let mut ini = INI
            .replace("FAILOVER_IP", "4.4.4.4")
            .replace("THIS_IP", own)
            .replace("OTHER_IP_1", others[0])
            .replace("OTHER_IP_2", others[1])
            .replace("SECRET", "0123456789abcdef0123456789abcdef")
            .replace("USERNAME", "FOO")
            .replace(" 9999 ", &format!(" {} ", 10_000 - server));
        for block in blocks {
            match block {
                Block::Ini { server: on, lines } if *on == server => ini += &format!("{lines}\n"),
                Block::Ini { .. } | Block::Run { .. } | Block::Log { .. } => {}
            }
        }
        fs::write(directory.join("uwsgi.ini"), ini).unwrap();
        fs::write(directory.join("log"), "").unwrap();
        let password = directory.join("password");
        fs::write(&password, "BAR\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn carry_out(&self, blocks: &[Block]) {
        let mut read = [0; SERVERS.len()];
        let mut commands = 0;
        for block in blocks {
            match block {
                Block::Run {
                    line,
                    command,
                    servers,
                    shown,
                } => {
                    for &server in servers {
                        self.run_and_compare(*line, command, server, shown.as_deref());
                    }
                    commands += 1;
                }
                Block::Log {
                    line,
                    server,
                    lines,
                } => self.wait_for(*line, *server, lines, &mut read[server - 1]),
                Block::Ini { .. } => {}
            }
        }
        assert!(commands > 10, "{commands} commands");
    }

    fn run_and_compare(&self, line: usize, command: &str, server: usize, shown: Option<&str>) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let printed = self.run(command, server);
            let Some(shown) = shown else {
                return;
            };
            let (seen, shown) = (normalized(&printed), normalized(shown));
            // uWSGI collects metrics once a second.
            if command.starts_with("curl -s ") && seen != shown && Instant::now() < give_up {
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            assert_eq!(seen, shown, "\nline {line}: {command}\n{printed}");
            return;
        }
    }

    /// Runs a command on a terminal, where somebody answers yes. Returns its standard output.
    fn run(&self, command: &str, server: usize) -> String {
        let directory = self.path(&format!("server{server}"));
        let command = command
            .replace("/etc/uwsgi-failover", &directory.display().to_string())
            .replace("curl -u FOO", "curl -u FOO:BAR");
        let (script, errors) = (self.path("command"), self.path("errors"));
        fs::write(&script, &command).unwrap();
        let line = format!("sh -e {} 2>{}", script.display(), errors.display());
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("LAB", self.directory.path())
            .env("SERVER", server.to_string())
            .env("SSL_CERT_FILE", self.robot.ca_file())
            .env("CURL_CA_BUNDLE", self.robot.ca_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        // It stays open until the command has ended.
        let mut input = child.stdin.take().expect("it is piped");
        if command.contains("--hetzner-switch") || command.contains("--hetzner-unroute") {
            input.write_all(b"y\n").expect("it reads");
        }
        let output = child.wait_with_output().expect("it ends");
        drop(input);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = fs::read_to_string(&errors).unwrap_or_default();
        assert!(output.status.success(), "{command}\n{printed}\n{errors}");
        printed
    }

    /// Waits for lines in a server's log, in this order, from `read` on.
    fn wait_for(&self, at: usize, server: usize, lines: &[String], read: &mut usize) {
        let log = self.path(&format!("server{server}")).join("log");
        for line in lines.iter().filter(|line| !is_about_waiting(line)) {
            let give_up = Instant::now() + PATIENCE;
            loop {
                let text = fs::read_to_string(&log).unwrap();
                let mut rest = text.lines().enumerate().skip(*read);
                if let Some((index, _)) = rest.find(|(_, logged)| is_alike(line, logged)) {
                    *read = index + 1;
                    break;
                }
                assert!(
                    Instant::now() < give_up,
                    "line {at}: server {server} does not log\n{line}\nbut, after line {read},\n{text}"
                );
                // A file that grows has no event.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

pub fn system(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} {arguments:?}"
    );
}

fn is_about_waiting(line: &str) -> bool {
    line.contains(": still waiting after ")
}

/// Whether a line of the log is the one that is shown, in which `...` stands for anything.
fn is_alike(shown: &str, logged: &str) -> bool {
    let (shown, logged) = (masked(shown), masked(logged));
    let mut pieces = shown.split("...");
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = logged.strip_prefix(first) else {
        return false;
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.is_empty() || shown.ends_with("...")
}

/// A report without what a terminal makes of it, how it is wrapped, and what is masked.
fn normalized(text: &str) -> String {
    let mut words = Vec::new();
    // The echo of the answer, which ends the line of the question, comes when it is typed.
    for line in text.replace("[y/N] ", "[y/N]\n").split('\n') {
        // A line that is redrawn is cleared first.
        let line = line.rsplit("\x1b[2K").next().unwrap_or(line);
        if is_about_waiting(line) {
            continue;
        }
        let line = uncoloured(line);
        words.extend(line.split_whitespace().map(String::from));
    }
    words.retain(|word| word != "y");
    masked(&words.join(" "))
}

fn uncoloured(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        text += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    text
}

fn masked(text: &str) -> String {
    let mut text = format!("{text} ");
    for (begin, end) in MASKS {
        let mut done = 0;
        while let Some(found) = text[done..].find(begin) {
            let start = done + found + begin.len();
            let Some(length) = text[start..].find(end) else {
                break;
            };
            text.replace_range(start..start + length, "?");
            done = start;
        }
    }
    text.trim_end().to_string()
}
