//! `--hetzner-check`: each fact, good and bad, and that nothing else happens.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::proxy::Proxy;
use testbed::robot::{Certificate, Fault, Method, Robot, Scheme, When};
use testbed::uwsgi::{Legion, NodeConfig, PATIENCE};

use crate::Test;
use crate::context::{Context, action, ip, lone_node, robot, robot_with, wait};

pub const TESTS: &[Test] = tests![
    check_prints_a_report_of_80_columns,
    check_prints_json_and_nothing_else,
    check_that_cannot_be_printed_fails,
    check_only_reads_and_asks_once,
    check_stops_at_a_refused_login,
    check_says_where_a_mistake_is,
    check_finds_an_unknown_address,
    check_finds_an_address_of_a_subnet,
    check_finds_a_service_that_is_not_reached,
    check_finds_a_service_that_is_ill,
    check_says_where_the_address_is_routed,
    check_names_the_proxy,
    check_compares_the_clock_and_counts_requests,
    check_reports_the_mistakes_of_the_boot,
    check_reports_the_legion,
    check_without_an_action_is_an_error,
    check_has_the_rights_of_the_legion,
    check_is_safe_beside_the_instance,
    check_starts_no_fallback_configuration,
    what_only_looks_like_a_command_changes_nothing,
    check_by_the_environment,
    check_asks_hetzner_for_the_servers,
    check_looks_at_interfaces,
    check_is_logged_at_the_start,
    check_at_the_start_delays_nothing
];

/// What a command has printed, and its status.
pub struct Done {
    pub status: Option<i32>,
    pub out: String,
    pub log: String,
}

/// A command line of uWSGI's, with the file of this configuration.
pub fn command_line(context: &Context, directory: &Path, ini: &str, options: &[&str]) -> Command {
    let launch = context.launch();
    let plugins = launch.plugins_dir.expect("the plugin has a directory");
    let ini = ini.replacen(
        "[uwsgi]",
        &format!("[uwsgi]\nplugins-dir = {}", plugins.display()),
        1,
    );
    let path = directory.join("uwsgi.ini");
    std::fs::write(&path, ini).unwrap();
    let mut command = Command::new(launch.uwsgi);
    command
        .arg("--ini")
        .arg(path)
        .args(options)
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

pub fn done(output: Output) -> Done {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let done = Done {
        status: output.status.code(),
        out: text(output.stdout),
        log: text(output.stderr),
    };
    for secret in ["BAR", "Rk9POkJBUg", "secret1"] {
        assert!(
            !done.out.contains(secret) && !done.log.contains(secret),
            "{secret}\n{}",
            done.out
        );
    }
    done
}

pub fn run(context: &Context, config: &NodeConfig, options: &[&str]) -> Done {
    let directory = tempfile::tempdir().unwrap();
    done(
        command_line(context, directory.path(), &config.ini(), options)
            .output()
            .unwrap(),
    )
}

/// The report of a check.
pub struct Report {
    pub status: Option<i32>,
    json: Value,
}

impl Report {
    fn of(done: &Done) -> Report {
        let json: Value = serde_json::from_str(&done.out)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", done.out, done.log));
        let report = Report {
            status: done.status,
            json,
        };
        let count = |level: &str| {
            report
                .facts()
                .iter()
                .filter(|fact| fact["level"] == level)
                .count()
        };
        assert_eq!(report.json["errors"], count("error"));
        assert_eq!(report.json["warnings"], count("warning"));
        assert_eq!(
            report.status,
            Some(i32::from(count("error") > 0)),
            "{}",
            report.json
        );
        report
    }

    fn facts(&self) -> &[Value] {
        self.json["facts"].as_array().unwrap()
    }

    /// Level and text of the facts of this kind.
    fn all(&self, fact: &str) -> Vec<(&str, &str)> {
        let facts = self.facts().iter().filter(|found| found["fact"] == fact);
        facts
            .map(|fact| {
                (
                    fact["level"].as_str().unwrap(),
                    fact["text"].as_str().unwrap(),
                )
            })
            .collect()
    }

    #[track_caller]
    pub fn has(&self, fact: &str, level: &str, part: &str) {
        let all = self.all(fact);
        let found = all
            .iter()
            .any(|(is, text)| *is == level && text.contains(part));
        assert!(found, "no {level} {fact} with `{part}`: {all:#?}");
    }

    #[track_caller]
    fn has_no(&self, fact: &str) {
        assert_eq!(self.all(fact), [], "{fact}");
    }
}

pub fn check(context: &Context, action: &str) -> Report {
    Report::of(&run(context, &lone_node(action), &["--hetzner-check-json"]))
}

fn check_prints_a_report_of_80_columns(context: &Context) {
    let robot = robot();
    let done = run(
        context,
        &lone_node(&action(&robot, "")),
        &["--hetzner-check"],
    );
    assert_eq!(done.status, Some(0), "{}", done.out);
    assert!(!done.out.contains('\x1b'));
    assert!(
        done.out.lines().all(|line| line.chars().count() <= 80),
        "{}",
        done.out
    );
    let beginnings = [
        "legion \"failover\"\n  ok       quorum: ",
        "\n\nlegion \"failover\", legion-lord: hetzner-failoverip, 4.4.4.4\n  ok       configuration: ",
        "\n  ok       login: the webservice accepts username and password\n",
    ];
    for beginning in beginnings {
        assert!(done.out.contains(beginning), "{beginning}\n{}", done.out);
    }
    // Neither address is this host's.
    assert!(
        done.out.ends_with("\n\nno errors, 2 warnings\n"),
        "{}",
        done.out
    );
}

fn check_prints_json_and_nothing_else(context: &Context) {
    let robot = robot();
    let report = check(context, &action(&robot, ""));
    assert_eq!(report.json["version"], env!("CARGO_PKG_VERSION"));
    for fact in report.facts() {
        let members: Vec<&String> = fact.as_object().unwrap().keys().collect();
        assert_eq!(members.len(), 7, "{members:?}");
    }
    let login = report
        .facts()
        .iter()
        .find(|fact| fact["fact"] == "login")
        .unwrap();
    let place = ["legion", "hook", "action", "ip"].map(|member| login[member].as_str().unwrap());
    assert_eq!(place, ["failover", "lord", "hetzner-failoverip", "4.4.4.4"]);
    let quorum = report
        .facts()
        .iter()
        .find(|fact| fact["fact"] == "quorum")
        .unwrap();
    assert!(
        ["hook", "action", "ip"]
            .iter()
            .all(|member| quorum[member].is_null())
    );
}

/// Otherwise a full disk would look like a configuration without errors.
fn check_that_cannot_be_printed_fails(context: &Context) {
    let robot = robot();
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    let ini = lone_node(&action(&robot, "")).ini();
    for option in ["--hetzner-check", "--hetzner-check-json"] {
        let directory = tempfile::tempdir().unwrap();
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = command_line(context, directory.path(), &ini, &[option]);
        let done = done(command.stdout(full.unwrap()).output().unwrap());
        assert_eq!(done.status, Some(1), "{option}: {}", done.log);
        let expected = "ERROR the report cannot be printed: No space left on device";
        assert!(done.log.contains(expected), "{option}: {}", done.log);
    }
}

fn check_only_reads_and_asks_once(context: &Context) {
    let robot = robot();
    let action = action(&robot, "");
    let config = lone_node(&action).line(format!("legion-join = failover {action}"));
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    assert_eq!(report.all("login").len(), 2);
    let methods: Vec<String> = robot
        .requests()
        .iter()
        .map(|request| request.method.clone())
        .collect();
    assert_eq!(methods, ["GET"]);
    report.has("server", "ok", "not checked");
}

/// Also for another user: three refused logins block this host.
fn check_stops_at_a_refused_login(context: &Context) {
    let robot = robot_with(|settings| settings.failovers.push((ip("5.5.5.5"), None)));
    robot.set_password("other");
    let one = action(&robot, "");
    let other = one.replace("4.4.4.4", "5.5.5.5").replace("FOO", "FOO2");
    let config = lone_node(&one).line(format!("legion-lord = failover {other}"));
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    assert_eq!(report.status, Some(1));
    report.has("login", "error", "refused the login (401)");
    report.has("login", "error", "not tried");
    report.has_no("failover-ip");
    assert_eq!(robot.count(Method::Any), 1);
}

fn check_says_where_a_mistake_is(context: &Context) {
    let robot = robot();
    let config = lone_node(&action(&robot, ""))
        .line(format!("legion-lord = failover {}", action(&robot, "")))
        .line(format!(
            "legion-lord = failover {}",
            action(&robot, ",ip=127.0.0.1,url=x")
        ))
        .line("hetzner-health = failover nourl")
        .line("legion-quorum = failover 2");
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    assert_eq!(report.status, Some(1));
    for (text, hook, action, ip) in [
        (
            "two hooks route 4.4.4.4",
            json!("lord"),
            Value::Null,
            json!("4.4.4.4"),
        ),
        ("nourl", Value::Null, Value::Null, Value::Null),
        (
            "url: ",
            json!("lord"),
            json!("hetzner-failoverip"),
            json!("127.0.0.1"),
        ),
    ] {
        let facts = report.facts();
        let fact = facts.iter().find(|fact| {
            fact["text"]
                .as_str()
                .is_some_and(|said| said.contains(text))
        });
        let fact = fact.unwrap_or_else(|| panic!("no {text} in {facts:#?}"));
        assert_eq!(fact["legion"], "failover", "{fact}");
        assert_eq!(
            (&fact["hook"], &fact["action"], &fact["ip"]),
            (&hook, &action, &ip)
        );
    }
    report.has("quorum", "warning", "more than the nodes that are listed");
}

fn check_finds_an_unknown_address(context: &Context) {
    let robot = robot();
    let report = check(context, &action(&robot, "").replace("4.4.4.4", "5.5.5.5"));
    assert_eq!(report.status, Some(1));
    report.has("login", "ok", "");
    report.has("failover-ip", "error", "not in this account");
}

fn check_finds_an_address_of_a_subnet(context: &Context) {
    let robot = robot_with(|settings| {
        settings.failovers = vec![(ip("4.4.4.0"), Some(ip("2.2.2.2")))];
        settings.subnets = vec![(ip("4.4.4.0"), 29)];
    });
    let report = check(context, &action(&robot, ""));
    report.has("failover-ip", "error", "write ip=4.4.4.0");
    let whole = action(&robot, "").replace("ip=4.4.4.4", "ip=4.4.4.0");
    let report = check(context, &whole);
    report.has(
        "failover-ip",
        "ok",
        "subnet of this account (netmask 255.255.255.248)",
    );
}

fn check_finds_a_service_that_is_not_reached(context: &Context) {
    let closed = robot();
    closed.refuse_connections();
    let report = check(context, &action(&closed, ""));
    assert_eq!(report.status, Some(1));
    report.has("service", "error", "no connection to localhost");
    report.has_no("login");
    // Without a connection the host is checked all the same.
    report.has("host", "warning", "1.1.1.1");
    report.has("source", "ok", "127.0.0.1");
    let expired = robot_with(|settings| settings.certificate = Certificate::Expired);
    let report = check(context, &action(&expired, ""));
    report.has("service", "error", "it has expired");
    let unverified = check(context, &action(&expired, "ssl_no_verify"));
    assert_eq!(unverified.status, Some(0));
    unverified.has("service", "ok", "not verified");
    unverified.has("configuration", "warning", "ssl_no_verify is on");
}

fn check_finds_a_service_that_is_ill(context: &Context) {
    let robot = robot();
    robot.order(When::Once(Method::Get), Fault::page(503));
    let report = check(context, &action(&robot, ""));
    assert_eq!(report.status, Some(0));
    report.has("service", "ok", "its certificate is verified");
    report.has("failover-ip", "warning", "503");
    report.has_no("login");
    for (fault, part) in [
        (
            Fault::rate_limit_exceeded(100, Duration::from_secs(3600)),
            "100 requests in 3600 s",
        ),
        (Fault::blocked(), "most likely blocked"),
    ] {
        robot.order(When::Once(Method::Get), fault);
        let report = check(
            context,
            &action(&robot, "").replace("localhost", "127.0.0.1"),
        );
        report.has_no("login");
        let all = [report.all("rate-limit"), report.all("failover-ip")].concat();
        assert!(
            all.iter()
                .any(|(level, text)| *level == "warning" && text.contains(part)),
            "{all:?}"
        );
    }
    robot.order(When::Once(Method::Get), Fault::Reset);
    check(context, &action(&robot, "")).has("service", "error", "incomplete response");
}

fn check_says_where_the_address_is_routed(context: &Context) {
    let robot = robot();
    let route = |level, part: &str| check(context, &action(&robot, "")).has("route", level, part);
    route("ok", "4.4.4.4 is routed to 2.2.2.2 (active_ip is 1.1.1.1)");
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    route("ok", "4.4.4.4 is routed to 1.1.1.1, which is active_ip");
    robot.set_route(ip("4.4.4.4"), None);
    route("warning", "routed to no server");
    robot.lock(ip("4.4.4.4"), PATIENCE, true);
    route("warning", "being switched");
}

fn check_names_the_proxy(context: &Context) {
    let (robot, proxy) = (robot(), Proxy::start().unwrap());
    let config = lone_node(&action(&robot, "")).line(format!("env = HTTPS_PROXY={}", proxy.url()));
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    report.has("service", "ok", "localhost (through the proxy ");
    let config = config.line("env = HTTPS_PROXY=http://127.0.0.1:1");
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    report.has("service", "error", "through the proxy 127.0.0.1:1");
}

fn check_compares_the_clock_and_counts_requests(context: &Context) {
    let robot = robot();
    let answer = |date: &str, left: &str| Fault::Answer {
        status: 200,
        headers: [("Date", date), ("RateLimit-Remaining", left)]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
        body: br#"{"failover":{"ip":"4.4.4.4","active_server_ip":"2.2.2.2"}}"#.to_vec(),
    };
    robot.order(
        When::Once(Method::Get),
        answer("Sun, 06 Nov 1994 08:49:37 GMT", "3"),
    );
    let report = check(context, &action(&robot, ""));
    report.has("clock", "warning", "ahead of the webservice's");
    report.has("rate-limit", "warning", "3 more requests");
    let now = Command::new("date")
        .args(["-u", "+%a, %d %b %Y %T GMT"])
        .env("LC_ALL", "C")
        .output();
    let now = String::from_utf8(now.unwrap().stdout).unwrap();
    robot.order(When::Once(Method::Get), answer(now.trim(), "90"));
    let report = check(context, &action(&robot, ""));
    report.has("clock", "ok", "");
    report.has("rate-limit", "ok", "90 more requests");
    // Where the webservice does not tell, there is nothing to report.
    let report = check(context, &action(&robot, ""));
    report.has_no("clock");
    report.has_no("rate-limit");
}

fn check_reports_the_mistakes_of_the_boot(context: &Context) {
    let robot = robot();
    let config = lone_node(&action(&robot, "timeout=0,foo=1")).line("hetzner-health = other url=x");
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    report.has("configuration", "error", "timeout: `0`");
    report.has("configuration", "error", "foo: unknown key");
    report.has("configuration", "error", "there is no legion \"other\"");
    assert_eq!(robot.connections(), 0);
    let report = check(
        context,
        &action(&robot, "").replace("password=BAR", "password_file=/nowhere"),
    );
    report.has(
        "configuration",
        "error",
        "password_file: /nowhere cannot be read",
    );
    report.has("host", "warning", "1.1.1.1");
    let plain = robot_with(|settings| settings.scheme = Scheme::Http);
    check(context, &action(&plain, "")).has("service", "ok", "not encrypted");
}

fn check_reports_the_legion(context: &Context) {
    let robot = robot();
    let one = |lines: &str| {
        let config = NodeConfig::new()
            .line(Legion::of(3).member(0))
            .line(format!("legion-lord = failover {}", action(&robot, "")))
            .line(lines);
        Report::of(&run(context, &config, &["--hetzner-check-json"]))
    };
    let good = one("legion-death-on-lord-error = 300");
    for fact in [
        "quorum",
        "tolerance",
        "legion-address",
        "peers",
        "valor",
        "cipher",
        "suspension",
    ] {
        good.has(fact, "ok", "");
    }
    good.has("quorum", "ok", "2 of 3 nodes");
    good.has("cipher", "ok", "AES-256-CBC");
    let bad = one(
        "legion-quorum = failover 1\nlegion-node = failover nowhere.invalid:2000\nlegion-freq = 9\n\
         legion-tolerance = 8\nlegion-death-on-lord-error = 1",
    );
    assert_eq!(bad.status, Some(1));
    bad.has("quorum", "warning", "legion-quorum (1) is not a majority");
    bad.has("tolerance", "warning", "legion-tolerance (8 s)");
    bad.has("peers", "error", "nowhere.invalid");
    bad.has("suspension", "warning", "too short");
    bad.has_no("nothing is said twice");
    let texts: Vec<&str> = bad
        .facts()
        .iter()
        .map(|fact| fact["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts
            .iter()
            .filter(|text| text.contains("nowhere.invalid"))
            .count(),
        1,
        "{texts:?}"
    );
    let low = NodeConfig::new()
        .line("legion = failover 127.0.0.1:2000 70000 aes-256-gcm:secret1")
        .line(format!("legion-lord = failover {}", action(&robot, "")));
    let low = Report::of(&run(context, &low, &["--hetzner-check-json"]));
    low.has("valor", "error", "70000");
    low.has("cipher", "error", "AEAD");
}

fn check_without_an_action_is_an_error(context: &Context) {
    let config = NodeConfig::new().line(Legion::of(1).member(0));
    let report = Report::of(&run(context, &config, &["--hetzner-check-json"]));
    report.has(
        "configuration",
        "error",
        "no action in this configuration that moves an address",
    );
}

/// The legion runs as `nobody`, and this test as root.
fn check_has_the_rights_of_the_legion(context: &Context) {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !is_root() {
        return not_run("check_has_the_rights_of_the_legion", "it needs root");
    }
    let robot = robot();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "BAR\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let action = action(&robot, "").replace("password=BAR", "password_file=password");
    let config = lone_node(&action)
        .line("uid = nobody\ngid = nogroup")
        .line(format!("chdir = {}", directory.path().display()));
    let report = || Report::of(&run(context, &config, &["--hetzner-check-json"]));
    report().has("configuration", "error", "uWSGI runs as uid 65534");
    chown(&file, Some(65534), None).unwrap();
    report().has("login", "ok", "");
    let root = config.clone().line("master-as-root = true");
    chown(&file, Some(0), None).unwrap();
    Report::of(&run(context, &root, &["--hetzner-check-json"])).has("login", "ok", "");
}

pub fn is_root() -> bool {
    // SAFETY: it cannot fail.
    unsafe { libc::geteuid() == 0 }
}

pub fn not_run(test: &str, reason: &str) {
    eprintln!("\n*** NOT RUN: {test}: {reason}. ***\n");
}

/// With `vacuum`, uWSGI's exit would delete what belongs to the running instance.
fn check_is_safe_beside_the_instance(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let (pidfile, socket) = (
        directory.path().join("pid"),
        directory.path().join("socket"),
    );
    let goodbye = directory.path().join("goodbye");
    let config = lone_node(&action(&robot, "watch=0"))
        .line("vacuum = true")
        .line(format!("pidfile = {}", pidfile.display()))
        .line(format!("socket = {}", socket.display()))
        .line(format!("exec-atexit = touch {}", goodbye.display()));
    let mut node = context.start(&config);
    wait(&node, "i am now the Lord", PATIENCE);
    let before = node.log().lines().len();
    let pid = std::fs::read_to_string(&pidfile).unwrap();
    let broken = config.clone().line("legion-node = nowhere 127.0.0.1:1");
    for (config, status) in [(&config, 0), (&broken, 1)] {
        for option in ["--hetzner-check", "--hetzner-check-json"] {
            let done = run(context, config, &[option]);
            assert_eq!(done.status, Some(status), "{}\n{}", done.out, done.log);
            assert!(!done.out.is_empty() || option == "--hetzner-check");
            assert_eq!(std::fs::read_to_string(&pidfile).unwrap(), pid);
            assert!(socket.exists() && !goodbye.exists());
        }
    }
    let broken = run(context, &broken, &["--hetzner-check-json"]);
    Report::of(&broken).has(
        "configuration",
        "error",
        "ended while it read its configuration",
    );
    assert_eq!(node.log().lines().len(), before, "{}", node.log().text());
    assert_eq!(node.wait(Duration::ZERO), None);
}

/// A node whose `fallback-config` touches a file, and ends. The lines of `config` follow it.
struct Fallback {
    directory: tempfile::TempDir,
    ini: String,
}

impl Fallback {
    fn new(config: NodeConfig) -> Fallback {
        let directory = tempfile::tempdir().unwrap();
        let fallback = directory.path().join("fallback.ini");
        let marker = directory.path().join("marker").display().to_string();
        let text = format!("[uwsgi]\nexec-asap = touch {marker}\nexec-asap = false\n");
        std::fs::write(&fallback, text).unwrap();
        let first = format!("[uwsgi]\nfallback-config = {}", fallback.display());
        let ini = config.ini().replacen("[uwsgi]", &first, 1);
        Fallback { directory, ini }
    }

    fn command(&self, context: &Context, options: &[&str]) -> Command {
        command_line(context, self.directory.path(), &self.ini, options)
    }

    fn was_started(&self) -> bool {
        self.directory.path().join("marker").exists()
    }
}

/// uWSGI starts it when it ends with status 1, even before it has read that it is to check.
fn check_starts_no_fallback_configuration(context: &Context) {
    let node = || Fallback::new(lone_node("log:x").line("need-plugin = nosuchplugin"));
    let run = |options: &[&str], variable: Option<&str>| {
        let fallback = node();
        let mut command = fallback.command(context, options);
        command.envs(variable.map(|name| (name, "1")));
        let done = done(command.output().unwrap());
        assert_eq!(done.status, Some(1), "{}", done.log);
        assert!(!fallback.was_started(), "{options:?}\n{}", done.log);
        let expected = "ERROR uWSGI has ended while it read its configuration";
        assert!(done.log.contains(expected), "{}", done.log);
        done
    };
    for options in [
        &["--hetzner-check"][..],
        &["--hetzner-switch", "--hetzner-yes"],
        &["--hetzner-unroute", "--hetzner-only=4.4.4.4"],
        &["--hetzner-unr"],
    ] {
        assert_eq!(run(options, None).out, "");
    }
    let expected = "ended while it read its configuration";
    let json = run(&["--hetzner-check-json"], None);
    Report::of(&json).has("configuration", "error", expected);
    let json = run(&[], Some("UWSGI_HETZNER_CHECK_JSON"));
    Report::of(&json).has("configuration", "error", expected);
    run(&[], Some("UWSGI_HETZNER_CHECK"));
    // Without a command nothing is different.
    let fallback = node();
    let done = done(fallback.command(context, &[]).output().unwrap());
    assert!(fallback.was_started(), "{}", done.log);
}

/// It is the value of another option. The instance starts, and what ends it is none of a command's.
fn what_only_looks_like_a_command_changes_nothing(context: &Context) {
    let fallback = Fallback::new(lone_node("log:x").line("exec-post-app = false"));
    let options = ["--procname", "--hetzner-check"];
    let done = done(fallback.command(context, &options).output().unwrap());
    assert!(fallback.was_started(), "{}", done.log);
    let unexpected = "ended while it read its configuration";
    assert!(!done.log.contains(unexpected), "{}", done.log);
}

fn check_by_the_environment(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let ini = lone_node(&action(&robot, "")).ini();
    let mut command = command_line(context, directory.path(), &ini, &[]);
    command.env("UWSGI_HETZNER_CHECK_JSON", "1");
    Report::of(&done(command.output().unwrap())).has("login", "ok", "");
    let both = run(
        context,
        &lone_node("log:x"),
        &["--hetzner-check", "--hetzner-unroute"],
    );
    assert_eq!(both.status, Some(1));
    assert!(both.log.contains("exclude each other"), "{}", both.log);
}

/// A command within namespaces of its own, after `setup`; `None` without the right to them.
fn within(kinds: &str, setup: &str, command: &Command) -> Option<Output> {
    let mut outer = Command::new("unshare");
    if !is_root() {
        outer.args(["--user", "--map-root-user"]);
    }
    outer
        .arg(kinds)
        .args([
            "sh",
            "-c",
            &format!("{{ {setup}; }} >&2 || exit 77; exec \"$0\" \"$@\""),
        ])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null());
    let output = outer.output().ok()?;
    (output.status.code() != Some(77) && !output.stdout.is_empty()).then_some(output)
}

/// The name of Hetzner's webservice leads to the mock Robot here.
fn check_asks_hetzner_for_the_servers(context: &Context) {
    let robot = robot_with(|settings| settings.scheme = Scheme::Http);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("hosts"),
        "127.0.0.1 robot-ws.your-server.de\n",
    )
    .unwrap();
    for (active_ip, level, part) in [
        ("1.1.1.1", "ok", "is server 321 of this account"),
        (
            "9.9.9.9",
            "error",
            "no main address of a server of this account",
        ),
    ] {
        let before = robot.count(Method::Any);
        let action = format!(
            "hetzner-failoverip:username=FOO,password=BAR,ip=4.4.4.4,active_ip={active_ip},\
             url=http://robot-ws.your-server.de:{}/failover/4.4.4.4",
            robot.port()
        );
        let ini = lone_node(&action).ini();
        let command = command_line(context, directory.path(), &ini, &["--hetzner-check-json"]);
        let Some(output) = within("--mount", "mount --bind hosts /etc/hosts", &command) else {
            return not_run(
                "check_asks_hetzner_for_the_servers",
                "it needs a mount namespace",
            );
        };
        let report = Report::of(&done(output));
        report.has("server", level, part);
        assert_eq!(robot.count(Method::Any) - before, 2);
    }
    assert_eq!(robot.count(Method::Get), robot.count(Method::Any));
}

fn check_looks_at_interfaces(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let ini = lone_node(
        "hetzner-failoverip:username=FOO,password=BAR,ip=4.4.4.4,active_ip=1.1.1.1,timeout=1,\
         url=https://9.9.9.9/failover/4.4.4.4",
    )
    .ini();
    let device = "ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d0 up && \
                  ip link set d1 up && ip addr add 1.1.1.1/32 dev d0 && \
                  ip addr add 4.4.4.4/32 dev d0 && ";
    for (setup, level, part) in [
        (
            "ip route add default dev d0 src 1.1.1.1",
            "ok",
            "from 1.1.1.1, not from 4.4.4.4",
        ),
        (
            "ip route add default dev d0 src 4.4.4.4",
            "warning",
            "from 4.4.4.4, which belongs to",
        ),
    ] {
        let command = command_line(context, directory.path(), &ini, &["--hetzner-check-json"]);
        let Some(output) = within("--net", &format!("{device}{setup}"), &command) else {
            return not_run(
                "check_looks_at_interfaces",
                "it needs a network namespace, and `ip`",
            );
        };
        let report = Report::of(&done(output));
        report.has("host", "ok", "1.1.1.1 is an address of this host (d0)");
        report.has("interface", "ok", "4.4.4.4 is configured on d0");
        report.has("source", level, part);
        report.has("service", "error", "no connection to 9.9.9.9");
    }
}

fn check_is_logged_at_the_start(context: &Context) {
    let robot: Robot = robot();
    let config = lone_node(&action(&robot, "")).line("legion-setup = failover hetzner-check:");
    let node = context.start(&config);
    wait(&node, "[hetzner-check] no errors, 2 warnings", PATIENCE);
    let place = "legion \"failover\", legion-lord: hetzner-failoverip, 4.4.4.4";
    wait(
        &node,
        &format!("[hetzner-check] ok {place}, login: "),
        PATIENCE,
    );
    wait(
        &node,
        &format!("[hetzner-check] WARNING {place}, host: "),
        PATIENCE,
    );
    assert!(!node.log().contains("BAR"));
}

fn check_at_the_start_delays_nothing(context: &Context) {
    let robot = robot();
    robot.order(When::Always(Method::Get), Fault::Hang);
    let config = lone_node(&action(&robot, "")).line("legion-setup = failover hetzner-check:");
    let node = context.start(&config);
    wait(&node, "4.4.4.4 is routed to 1.1.1.1 (after", PATIENCE);
    assert!(
        !node.log().contains("[hetzner-check] no errors") && !node.log().contains(" service: ")
    );
}
