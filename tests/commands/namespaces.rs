//! Runs commands as the documents show them, in namespaces of their own: there is no network but loopback, and
//! what they write to the system is gone afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use testbed::document;

use crate::{Here, ROOT, TABLE, listed, read};

pub const ADDRESSES: &str = "addresses_are_configured";
pub const FILES: &str = "files_are_installed";
pub const FIREWALL: &str = "firewall_lets_in_the_other_servers_only";
pub const BY_HAND: &str = "plugin_is_built_by_hand";
pub const ROBOT: &str = "mock_robot_prints_what_is_shown";

/// A test, and the programs and paths without which it cannot be run.
pub type Test = (&'static str, &'static [&'static str], fn());

pub const TESTS: &[Test] = &[
    ("make_has_each_target", &["make"], make_has_each_target),
    (ADDRESSES, &[NAMESPACES, "ip"], addresses_are_configured),
    (
        FIREWALL,
        &[NAMESPACES, "ip", "nft", "python3"],
        firewall_lets_in_the_other_servers_only,
    ),
    (FILES, &[NAMESPACES, PLUGINS], files_are_installed),
    (BY_HAND, &[NAMESPACES, PLUGINS], plugin_is_built_by_hand),
    (ROBOT, &[NAMESPACES, "ip"], mock_robot_prints_what_is_shown),
];

/// Begins a command that runs as root of namespaces, which end with it.
const NAMESPACES: &str =
    "unshare --user --map-root-user --net --mount --pid --mount-proc --fork --kill-child";
/// The plugins directory of uwsgi-core.
const PLUGINS: &str = "/usr/lib/uwsgi/plugins";

pub fn is_there(need: &str) -> bool {
    if need.starts_with('/') {
        return Path::new(need).exists();
    }
    let test = match need {
        NAMESPACES => format!("{need} true"),
        program => format!("command -v {program}"),
    };
    let output = with_sbin("sh").args(["-c", &test]).output();
    output.is_ok_and(|output| output.status.success())
}

/// A command that finds root's programs, too.
fn with_sbin(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// The commands of a document that a test here runs, in their order.
fn commands_for(document: &str, test: &'static str) -> Vec<String> {
    let found = document::commands(&read(document)).commands;
    let texts = found.into_iter().map(|command| command.text);
    let texts: Vec<String> = texts
        .filter(|text| listed(document, text) == Some(Here(test)))
        .collect();
    assert!(!texts.is_empty(), "{document} shows no command for {test}");
    texts
}

/// Runs a script as root of its own namespaces, which end with it. Returns what it prints.
fn run_in_namespaces(script: &str, directory: &Path) -> String {
    let mut words = NAMESPACES.split(' ');
    let mut command = with_sbin(words.next().expect("the program"));
    command.args(words).args(["sh", "-e", "-c", script]);
    command.env("CARGO_NET_OFFLINE", "true");
    // With what cargo tells this test about its package, a cargo in the script would build ring anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let names = ["CARGO_MANIFEST_", "CARGO_PKG_", "OUT_DIR"];
        if names.iter().any(|begin| name.starts_with(begin)) {
            command.env_remove(&*name);
        }
    }
    let output = command.current_dir(directory).output();
    printed(script, &output.expect("unshare runs"))
}

fn printed(script: &str, output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{text}\n{errors}");
    text
}

/// Puts an empty directory in the place of each of these.
fn hide(directories: &[&str]) -> String {
    let mounts = directories.iter();
    mounts
        .map(|directory| format!("mount -t tmpfs tmpfs {directory}\n"))
        .collect()
}

fn make_has_each_target() {
    let commands = TABLE.iter().flat_map(|(_, rows)| *rows);
    for (command, _) in commands.filter(|(text, _)| text.starts_with("make ")) {
        let mut shell = Command::new("sh");
        // It prints what it would do.
        shell.args(["-c", command]).env("MAKEFLAGS", "n");
        let output = shell.current_dir(ROOT).output();
        printed(command, &output.expect("the shell runs"));
    }
}

fn addresses_are_configured() {
    let document = "docs/deployment.md";
    let commands = commands_for(document, ADDRESSES);
    // Some kernels have no dummy interfaces.
    let script = format!(
        "ip link add enp0s31f6 type dummy 2>/dev/null || ip link add enp0s31f6 type veth
        ip link set enp0s31f6 up
        {}
        ip -json address show dev enp0s31f6",
        commands.join("\n")
    );
    let interfaces = run_in_namespaces(&script, Path::new(ROOT));
    let interfaces: serde_json::Value = serde_json::from_str(&interfaces).expect("JSON");
    let addresses = interfaces[0]["addr_info"].as_array().expect("addresses");
    let find = |local: &str| {
        let address = addresses.iter().find(|address| address["local"] == local);
        address.unwrap_or_else(|| panic!("no {local} in {addresses:?}"))
    };
    assert_eq!(find("4.4.4.4")["prefixlen"], 32);
    let deprecated = find("2a01:4f8:fff1::1");
    assert_eq!(deprecated["prefixlen"], 128);
    assert_eq!(deprecated["deprecated"], true, "{deprecated}");
    assert_eq!(deprecated["preferred_life_time"], 0, "{deprecated}");
    // What /etc/network/interfaces runs at every boot.
    let line = format!("\n    up {}\n", commands[0]);
    assert!(read(document).contains(&line), "{document} lacks{line}");
}

fn firewall_lets_in_the_other_servers_only() {
    let script = format!(
        "ip link set lo up
        for address in 1.1.1.1 2.2.2.2 3.3.3.3 9.9.9.9; do ip address add $address/32 dev lo; done
        nft add table inet filter
        nft add chain inet filter input '{{ type filter hook input priority 0; }}'
        {}
        python3 -c '{}'",
        commands_for("docs/deployment.md", FIREWALL).join("\n"),
        // A packet has arrived, or been dropped, when `sendto` returns.
        "
import socket
def bound(*address):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(address)
    return udp
for port in 2000, 2001:
    receiver = bound(\"1.1.1.1\", port)
    for sender in \"9.9.9.9\", \"2.2.2.2\", \"3.3.3.3\":
        bound(sender, 0).sendto(b\"x\", (\"1.1.1.1\", port))
    receiver.setblocking(False)
    try:
        while True: print(port, receiver.recvfrom(1)[1][0])
    except BlockingIOError: pass
"
    );
    assert_eq!(
        run_in_namespaces(&script, Path::new(ROOT)),
        "2000 2.2.2.2\n2000 3.3.3.3\n2001 9.9.9.9\n2001 2.2.2.2\n2001 3.3.3.3\n"
    );
}

fn files_are_installed() {
    let archive = tempfile::tempdir().unwrap();
    // Its permissions are not those that are asked for.
    for (file, content) in [
        ("hetzner_plugin.so", "a plugin".to_string()),
        ("uwsgi-hetzner.7", "a page".to_string()),
        (
            "uwsgi-failover.service",
            read("packaging/uwsgi-failover.service"),
        ),
        ("uwsgi.ini", read("packaging/uwsgi.ini")),
    ] {
        let path = archive.path().join(file);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let directories = ["/etc", "/usr/local/share", PLUGINS];
    let script = format!(
        "{}mkdir -p /etc/systemd/system
        {}
        find {} -type f -exec stat -c '%a %s %n' {{}} + | sort -k 3",
        hide(&directories),
        commands_for("docs/deployment.md", FILES).join("\n"),
        directories.join(" "),
    );
    let size = |file: &str| fs::metadata(archive.path().join(file)).unwrap().len();
    let expected = [
        ("644", "/etc/systemd/system/", "uwsgi-failover.service"),
        ("600", "/etc/uwsgi-failover/", "password"),
        ("600", "/etc/uwsgi-failover/", "uwsgi.ini"),
        ("644", "/usr/lib/uwsgi/plugins/", "hetzner_plugin.so"),
        ("644", "/usr/local/share/man/man7/", "uwsgi-hetzner.7"),
    ]
    .map(|(mode, directory, file)| match file {
        "password" => format!("{mode} 0 {directory}{file}\n"),
        file => format!("{mode} {} {directory}{file}\n", size(file)),
    });
    assert_eq!(
        run_in_namespaces(&script, archive.path()),
        expected.concat()
    );
}

/// With the project's manifest, but without its code and dependencies, so that it is built in a second.
fn plugin_is_built_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = read("Cargo.toml");
    let sections = format!("\n{manifest}").replace("\n[", "\n\0[");
    let kept = ["[package]", "[lib]", "[profile.release]"];
    let sections = sections.split('\0');
    let manifest: String = sections
        .filter(|section| kept.iter().any(|name| section.starts_with(name)))
        .collect();
    fs::write(directory.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(directory.path().join("src")).unwrap();
    fs::write(directory.path().join("src/lib.rs"), "").unwrap();
    let script = format!(
        "unset CARGO_TARGET_DIR
        {}{}
        stat -c '%a' {PLUGINS}/*; cmp target/release/libhetzner_plugin.so {PLUGINS}/hetzner_plugin.so",
        hide(&[PLUGINS]),
        commands_for("docs/building.md", BY_HAND).join("\n"),
    );
    assert_eq!(run_in_namespaces(&script, directory.path()), "644\n");
}

fn mock_robot_prints_what_is_shown() {
    let document = "ARCHITECTURE.md";
    let command = commands_for(document, ROBOT).remove(0);
    let text = read(document);
    let (_, shown) = text
        .split_once(&format!("$ {command}\n"))
        .expect("a prompt");
    let (shown, _) = shown.split_once("```").expect("the block ends");
    let directory = tempfile::tempdir().unwrap();
    // Not in the /tmp of others.
    let own = |text: &str| text.replace("/tmp/", &format!("{}/", directory.path().display()));
    // The Robot runs until the namespace ends.
    let script = format!(
        "ip link set lo up
        mkfifo {out}
        {command} >{out} &
        timeout 300 head -n {lines} <{out}",
        out = directory.path().join("out").display(),
        command = own(&command),
        lines = shown.lines().count(),
    );
    assert_eq!(run_in_namespaces(&script, Path::new(ROOT)), own(shown));
}
