//! What an operator can graph, be told by an alarm, and see in `systemctl status`.

use std::collections::HashMap;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::health::{Application, Behaviour};
use testbed::robot::{Fault, Method, Robot, When};
use testbed::uwsgi::{Legion, Node, NodeConfig, PATIENCE};

use crate::Test;
use crate::cluster::LORD;
use crate::context::{Context, action, ip, lone_node, robot, wait};
use crate::driver::compile;

pub const TESTS: &[Test] = tests![
    metrics_of_a_takeover,
    metrics_of_a_failure,
    metrics_of_a_sick_application,
    metrics_of_a_route_moved_by_hand,
    metrics_of_legions_with_odd_names,
    metrics_in_a_directory_and_restored,
    metrics_in_a_worker,
    alarm_runs_a_command,
    alarm_at_the_deadline,
    alarm_not_for_what_passes,
    alarm_that_does_not_exist_is_a_mistake,
    alarm_message_is_cut,
    status_follows_the_node
];

/// For a uWSGI that has the plugin.
const STATSD: &[Test] = &[("metrics_pushed_to_statsd", statsd)];

/// uWSGI's statsd pusher is a plugin, and among those of a distribution's uWSGI.
const STATSD_PLUGIN: &str = "/usr/lib/uwsgi/plugins/stats_pusher_statsd_plugin.so";

/// The tests that only some uWSGIs can run. Says so where they do not.
pub fn optional_tests(context: &Context) -> &'static [Test] {
    if context.uwsgi.starts_with("/usr/bin") && Path::new(STATSD_PLUGIN).is_file() {
        return STATSD;
    }
    eprintln!(
        "*** NOT RUN: metrics_pushed_to_statsd, because uWSGI {} has no statsd plugin. ***",
        context.label
    );
    &[]
}

/// The shortest `watch` is 60 s; a look that finds the IP elsewhere looks again after 5 s.
const LOOKED: Duration = Duration::from_secs(120);

/// How uWSGI logs our line for the alarm `log:PAGER`, in all of its versions.
const PAGED: &str = " PAGER [hetzner-failoverip] ";

const IP: &str = "hetzner.failover.4_4_4_4";

/// What a node shows to an operator.
pub struct Shown {
    pub node: Node,
    directory: tempfile::TempDir,
    systemd: UnixDatagram,
}

pub fn start(context: &Context, config: &NodeConfig) -> Shown {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(LOOKED)).unwrap();
    let config = config.clone().line("enable-metrics = true").line(format!(
        "stats = {}",
        directory.path().join("stats").display()
    ));
    let node = Node::start_with(&context.launch(), &config.ini(), |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    Shown {
        node: node.expect("uWSGI starts"),
        directory,
        systemd,
    }
}

impl Shown {
    /// What the stats server says now. `None` while it does not listen yet.
    fn metrics(&self) -> Option<HashMap<String, i64>> {
        let mut text = String::new();
        let mut stats = UnixStream::connect(self.directory.path().join("stats")).ok()?;
        stats.read_to_string(&mut text).ok()?;
        let stats: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let metrics = stats["metrics"].as_object().expect("metrics");
        let value = |metric: &serde_json::Value| metric["value"].as_i64().expect("a number");
        let metrics = metrics.iter();
        Some(
            metrics
                .map(|(name, metric)| (name.clone(), value(metric)))
                .collect(),
        )
    }

    /// Waits until these metrics have these values.
    #[track_caller]
    pub fn wait_for(&self, values: &[(&str, i64)], patience: Duration) -> HashMap<String, i64> {
        let give_up = Instant::now() + patience;
        loop {
            let metrics = self.metrics().unwrap_or_default();
            let is_so = |(name, value): &(&str, i64)| metrics.get(*name) == Some(value);
            if values.iter().all(is_so) {
                return metrics;
            }
            assert!(
                Instant::now() < give_up,
                "{values:?}\n{metrics:?}\n{}",
                self.node.log().text()
            );
            // The stats server has no event.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for this status line, and returns all that were sent until then.
    #[track_caller]
    pub fn wait_for_status(&self, line: &str) -> Vec<String> {
        let mut sent = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = self.systemd.recv(&mut buffer);
            let length = length.unwrap_or_else(|_| panic!("no {line:?}: {sent:#?}"));
            sent.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            if sent
                .last()
                .is_some_and(|last| last == &format!("STATUS={line}\n"))
            {
                return sent;
            }
        }
    }
}

fn of_ip<'a>(names: &'a [String], values: &[i64]) -> Vec<(&'a str, i64)> {
    names
        .iter()
        .map(String::as_str)
        .zip(values.iter().copied())
        .collect()
}

fn names(ends: &[&str]) -> Vec<String> {
    ends.iter().map(|end| format!("{IP}.{end}")).collect()
}

fn unix_time() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    now.as_secs().try_into().expect("before the end of time")
}

fn metrics_of_a_takeover(context: &Context) {
    let begun = unix_time();
    let robot = robot();
    let shown = start(context, &lone_node(&action(&robot, "")));
    let ends = [
        "lord",
        "routed_here",
        "takeovers",
        "failures",
        "requests",
        "retries",
        "retakes",
    ];
    let names = names(&ends);
    let mut values = of_ip(&names, &[1, 1, 1, 0, 1, 0, 0]);
    values.extend([
        ("hetzner.failover.standing", 2),
        ("hetzner.failover.sick", 0),
    ]);
    let metrics = shown.wait_for(&values, PATIENCE);
    for end in ["last_takeover_time", "last_seen_ok_time"] {
        let time = metrics[&format!("{IP}.{end}")];
        assert!((begun..=unix_time()).contains(&time), "{end} {time}");
    }
    let millis = metrics[&format!("{IP}.last_takeover_ms")];
    assert!((1..60_000).contains(&millis), "{millis}");
    let ours = metrics
        .keys()
        .filter(|name| name.starts_with("hetzner."))
        .count();
    assert_eq!(ours, 12);
}

fn metrics_of_a_failure(context: &Context) {
    let robot = robot();
    let shown = start(context, &lone_node(&action(&robot, "password=wrong")));
    let names = names(&[
        "lord",
        "routed_here",
        "takeovers",
        "failures",
        "last_seen_ok_time",
    ]);
    let mut values = of_ip(&names, &[0, 0, 1, 1, 0]);
    values.push(("hetzner.failover.standing", 0));
    shown.wait_for(&values, PATIENCE);
}

fn metrics_of_a_sick_application(context: &Context) {
    let robot = robot();
    let application = Application::start().expect("it starts");
    let health = format!(
        "hetzner-health = failover url={},interval=1,fall=1,rise=1",
        application.url("/")
    );
    let shown = start(context, &lone_node(&action(&robot, "")).line(health));
    let values = |standing, sick| {
        [
            ("hetzner.failover.standing", standing),
            ("hetzner.failover.sick", sick),
        ]
    };
    shown.wait_for(&values(2, 0), PATIENCE);
    application.set(Behaviour::Status(503)).expect("it is set");
    shown.wait_for(&values(1, 1), PATIENCE);
    shown.wait_for_status("legion failover: Lord, sick; 4.4.4.4 leads here");
}

/// A Lord whose address leads elsewhere is seen in the metrics and in the status, and an alarm tells.
fn metrics_of_a_route_moved_by_hand(context: &Context) {
    let robot = robot();
    let action = action(&robot, "watch=60,watch_action=retake,alarm=pager");
    let shown = start(context, &lone_node(&action).line("alarm = pager log:PAGER"));
    wait(&shown.node, LORD, PATIENCE);
    shown.wait_for_status("legion failover: Lord, fit; 4.4.4.4 leads here");
    robot.set_switch_time(Duration::from_secs(5));
    robot.set_route(ip("4.4.4.4"), Some(ip("3.3.3.3")));
    let alarm = wait(&shown.node, PAGED, LOOKED);
    let line = "[hetzner-failoverip] 4.4.4.4: WARNING it is routed to 3.3.3.3, not to this server";
    assert!(alarm.contains(line), "{alarm}");
    let names = names(&["routed_here", "retakes", "takeovers"]);
    shown.wait_for(&of_ip(&names, &[0, 1, 1]), PATIENCE);
    shown.wait_for(&of_ip(&names, &[1, 1, 2]), LOOKED);
    // Two looks, and at least a POST for each takeover.
    let requests = shown.metrics().expect("it listens")[&format!("{IP}.requests")];
    assert_eq!(usize::try_from(requests), Ok(robot.requests().len()));
}

/// uWSGI exits on most characters in a metric's name.
fn metrics_of_legions_with_odd_names(context: &Context) {
    let robot = robot();
    let mut config = NodeConfig::new().line("legion-freq = 1\nlegion-tolerance = 5");
    for name in ["a.b", "a/b", "büro"] {
        let legion = Legion {
            name: name.into(),
            ..Legion::of(1)
        };
        config = config
            .line(legion.member(0))
            .line(format!("legion-lord = {name} {}", action(&robot, "")));
    }
    let shown = start(context, &config);
    shown.wait_for(
        &[
            ("hetzner.a_b.4_4_4_4.lord", 1),
            ("hetzner.a_b_2.4_4_4_4.lord", 1),
            ("hetzner.b_ro.4_4_4_4.lord", 1),
        ],
        PATIENCE,
    );
    let log = shown.node.log();
    assert!(log.contains("legion \"a/b\": its metrics are named hetzner.a_b_2"));
}

/// Counters go on where they were. Everything else is as it is.
fn metrics_in_a_directory_and_restored(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let config = lone_node(&action(&robot, ""))
        .line(format!("metrics-dir = {}", directory.path().display()))
        .line("metrics-dir-restore = true");
    for takeovers in 1..=2 {
        let mut shown = start(context, &config);
        let names = names(&["lord", "routed_here", "takeovers"]);
        let values = of_ip(&names, &[1, 1, takeovers]);
        let metrics = shown.wait_for(&values, PATIENCE);
        assert_eq!(metrics["hetzner.failover.standing"], 2);
        let time = metrics[&format!("{IP}.last_takeover_time")];
        assert!((unix_time() - 60..=unix_time()).contains(&time), "{time}");
        for (name, value) in values {
            wait_for_file(&directory.path().join(name), &format!("{value}\n"));
        }
        shown.node.stop(PATIENCE).expect("it ends");
    }
}

/// Waits until a file begins with this.
#[track_caller]
fn wait_for_file(path: &Path, content: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let found = std::fs::read_to_string(path).unwrap_or_default();
        if found.starts_with(content) {
            return;
        }
        assert!(Instant::now() < give_up, "{}: {found:?}", path.display());
        // uWSGI writes it through a mapping, which has no event.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A worker sees what the master counts. The worker is C, as not every uWSGI has Python.
fn metrics_in_a_worker(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("reader_plugin.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/uwsgi/support/reader.c");
    compile(source.as_ref(), &plugin);
    let config = lone_node(&action(&robot, ""))
        .line(format!("plugin = {}", plugin.display()))
        .line(format!("env = METRIC={IP}.takeovers"));
    let shown = start(context, &config);
    wait(
        &shown.node,
        &format!("[reader] {IP}.takeovers is 1"),
        PATIENCE,
    );
}

fn statsd(context: &Context) {
    let robot = robot();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let config = lone_node(&action(&robot, ""))
        .line(format!("plugin = {STATSD_PLUGIN}"))
        .line(format!("stats-push = statsd:127.0.0.1:{port},node1"));
    let shown = start(context, &config);
    let mut expected = vec![
        format!("node1.{IP}.lord:1|g"),
        format!("node1.{IP}.takeovers:1|c"),
        "node1.hetzner.failover.standing:2|g".into(),
    ];
    let give_up = Instant::now() + PATIENCE;
    let mut buffer = [0; 1024];
    while !expected.is_empty() {
        assert!(
            Instant::now() < give_up,
            "{expected:?}\n{}",
            shown.node.log().text()
        );
        let length = socket.recv(&mut buffer).expect("statsd gets packets");
        let packet = String::from_utf8_lossy(&buffer[..length]).into_owned();
        expected.retain(|line| *line != packet);
    }
}

fn alarm_runs_a_command(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page");
    let config = lone_node(&action(&robot, "password=wrong,alarm=pager"))
        .line("alarm = other log:OTHER")
        .line(format!("alarm = pager cmd:cat > {}", page.display()));
    let shown = start(context, &config);
    let line = "[hetzner-failoverip] ERROR 4.4.4.4 is not routed to 1.1.1.1: ";
    wait_for_file(&page, line);
    let logged = wait(&shown.node, line, PATIENCE);
    wait_for_file(&page, &logged);
    assert!(!shown.node.log().contains("OTHER"));
}

fn alarm_at_the_deadline(context: &Context) {
    let robot = failing_robot();
    let action = action(&robot, "timeout=2,deadline=4,alarm=pager");
    let node = context.start(&lone_node(&action).line("alarm = pager log:PAGER"));
    let alarm = wait(&node, PAGED, PATIENCE);
    assert!(
        alarm.contains("(the deadline of 4 s has passed)"),
        "{alarm}"
    );
}

fn failing_robot() -> Robot {
    let robot = robot();
    let unavailable = Fault::error(503, "INTERNAL_ERROR", "maintenance");
    robot.order(When::Always(Method::Any), unavailable);
    robot
}

/// Another node may have a connection, and this one tries again.
fn alarm_not_for_what_passes(context: &Context) {
    let robot = robot();
    robot.refuse_connections();
    let action = action(&robot, "alarm=pager");
    let node = context.start(&lone_node(&action).line("alarm = pager log:PAGER"));
    wait(&node, "ERROR 4.4.4.4 is not routed", PATIENCE);
    wait(&node, "standing for election again", PATIENCE);
    assert!(!node.log().contains("PAGER"), "{}", node.log().text());
}

fn alarm_that_does_not_exist_is_a_mistake(context: &Context) {
    let robot = robot();
    for alarms in [
        "",
        "alarm = page log:\nalarm = pagers log:\nalarm = other log:pager",
    ] {
        let config = lone_node(&action(&robot, "alarm=pager")).line(alarms);
        let mut node = context.start(&config);
        let line = wait(&node, "there is no alarm `pager`", PATIENCE);
        let place = "[hetzner] ERROR legion \"failover\", legion-lord: hetzner-failoverip: alarm: ";
        assert!(line.starts_with(place), "{line}");
        let status = node.wait(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(1));
    }
}

/// uWSGI drops a message that is longer than it takes.
fn alarm_message_is_cut(context: &Context) {
    let robot = robot();
    let config = lone_node(&action(&robot, "password=wrong,alarm=pager"))
        .line("alarm = pager log:PAGER")
        .line("alarm-msg-size = 40");
    let node = context.start(&config);
    let alarm = wait(&node, PAGED, PATIENCE);
    let message = "[hetzner-failoverip] ERROR 4.4.4.4 is not";
    assert!(alarm.ends_with(&message[..40]), "{alarm}");
}

fn status_follows_the_node(context: &Context) {
    let robot = failing_robot();
    let action = action(&robot, "timeout=2,deadline=4");
    let shown = start(context, &lone_node(&action));
    let sent = shown.wait_for_status("legion failover: not Lord, voter; 4.4.4.4 was not looked at");
    let place = |part: &str| sent.iter().position(|line| line.contains(part));
    let ready = place("READY=1").expect("uWSGI is ready");
    assert!(ready < place("STATUS=legion").expect("ours"), "{sent:#?}");
    robot.clear_orders();
    shown.wait_for_status("legion failover: Lord, fit; 4.4.4.4 leads here");
    assert!(!shown.node.log().contains("WARNING the status line"));
}
