//! What every test needs: a uWSGI, the plugin, and a mock Robot.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use testbed::robot::{Robot, Settings};
use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE, plugins_dir};

use crate::memcheck;

/// The uWSGI that `make test` builds.
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/uwsgi/2.0.31/uwsgi");

/// A uWSGI, and the plugin to load into it.
#[derive(Clone)]
pub struct Context {
    pub label: String,
    pub uwsgi: PathBuf,
}

/// Whether a missing uWSGI is a failure.
pub fn is_required() -> bool {
    std::env::var_os("UWSGI_BINARIES").is_some()
}

impl Context {
    /// One for each uWSGI.
    pub fn all() -> Vec<Context> {
        let binaries = std::env::var("UWSGI_BINARIES").unwrap_or(format!("2.0.31={BUILT}"));
        binaries
            .split(':')
            .filter_map(|binary| binary.split_once('='))
            .map(|(label, uwsgi)| Context {
                label: label.into(),
                uwsgi: uwsgi.into(),
            })
            .collect()
    }

    /// Whether it was built for the tests.
    pub fn is_our_own(&self) -> bool {
        self.uwsgi
            .starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))
    }

    pub fn is_there(&self) -> bool {
        self.uwsgi.is_file()
    }

    /// How to start it, with the plugin.
    pub fn launch(&self) -> Launch {
        assert!(
            self.is_there(),
            "there is no uWSGI at {}: run `make test`",
            self.uwsgi.display()
        );
        Launch {
            uwsgi: memcheck::maybe_wrapped(&self.label, &self.uwsgi),
            plugins_dir: Some(plugins()),
            // A process reports its leaks only when it ends.
            farewell: memcheck::reports().map(|_| PATIENCE),
        }
    }

    /// Starts a node.
    pub fn start(&self, config: &NodeConfig) -> Node {
        Node::start(&self.launch(), &config.ini()).expect("uWSGI starts")
    }
}

/// The directory with the plugin, the same for all tests.
fn plugins() -> PathBuf {
    static PLUGINS: OnceLock<Arc<tempfile::TempDir>> = OnceLock::new();
    PLUGINS
        .get_or_init(|| {
            let plugin = plugin();
            Arc::new(plugins_dir(&plugin).unwrap_or_else(|error| {
                panic!("the plugin, {}, cannot be used: {error}", plugin.display())
            }))
        })
        .path()
        .to_path_buf()
}

/// The plugin's file: `HETZNER_PLUGIN`, or else the one that cargo has built beside this test.
pub fn plugin() -> PathBuf {
    std::env::var_os("HETZNER_PLUGIN").map_or_else(
        || {
            let test = std::env::current_exe().expect("the test has a path");
            test.with_file_name("libhetzner_plugin.so")
        },
        PathBuf::from,
    )
}

/// Reports the tests that did not run, so that nobody takes silence for success.
pub fn report_not_run(contexts: &[Context]) {
    for context in contexts.iter().filter(|context| !context.is_there()) {
        eprintln!(
            "\n*** NOT RUN: the tests against uWSGI {}, since there is none at {}. ***\n\
             *** `make test` builds it and runs them.                                      ***\n",
            context.label,
            context.uwsgi.display()
        );
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A mock Robot with the failover IP 4.4.4.4, routed to 2.2.2.2.
pub fn robot() -> Robot {
    robot_with(|_| {})
}

pub fn robot_with(adapt: impl FnOnce(&mut Settings)) -> Robot {
    let mut settings = Settings {
        failovers: vec![(ip("4.4.4.4"), Some(ip("2.2.2.2")))],
        ..Settings::default()
    };
    adapt(&mut settings);
    Robot::start(settings).expect("the Robot starts")
}

/// The action for a mock Robot: 4.4.4.4 to 1.1.1.1, with its URL and certificate.
pub fn action(robot: &Robot, more: &str) -> String {
    action_to(robot, "1.1.1.1", more)
}

pub fn action_to(robot: &Robot, active_ip: &str, more: &str) -> String {
    let more = match more {
        "" => String::new(),
        more => format!(",{more}"),
    };
    format!(
        "hetzner-failoverip:username=FOO,password=BAR,ip=4.4.4.4,active_ip={active_ip},\
         url={},ca_file={}{more}",
        robot.url(ip("4.4.4.4")),
        robot.ca_file().display()
    )
}

/// A legion of one node, which becomes Lord at once and calls the action.
pub fn lone_node(action: &str) -> NodeConfig {
    NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line(format!("legion-lord = failover {action}"))
        .line("legion-freq = 1\nlegion-tolerance = 5\nlegion-death-on-lord-error = 600")
}

/// A takeover that has ended.
pub struct Takeover {
    pub node: Node,
    /// The line about its end.
    pub end: String,
}

impl Context {
    /// Runs one takeover to its end.
    pub fn take_over(&self, action: &str) -> Takeover {
        let node = self.start(&lone_node(action));
        let start = wait(&node, "[uwsgi-legion] (phase: lord", PATIENCE);
        assert!(start.ends_with("calling hetzner-failoverip"), "{start}");
        let end = wait_any(
            &node,
            &["] i am now the Lord", "] ERROR, lord hook returned: -1"],
        );
        let lines = node.log().lines();
        let end_of_takeover = lines
            .iter()
            .rev()
            .find(|line| line.starts_with("[hetzner-failoverip] "))
            .unwrap_or_else(|| panic!("no line of ours:\n{}", node.log().text()));
        let succeeded = end.contains("i am now the Lord");
        assert_eq!(
            succeeded,
            !end_of_takeover.contains("] ERROR "),
            "the return value and the log disagree:\n{}",
            node.log().text()
        );
        assert!(
            !node.log().contains("BAR"),
            "the password is in the log:\n{}",
            node.log().text()
        );
        Takeover {
            end: end_of_takeover.clone(),
            node,
        }
    }
}

impl Takeover {
    #[track_caller]
    pub fn is_routed(&self, requests: &str) {
        assert!(
            self.end
                .starts_with("[hetzner-failoverip] 4.4.4.4 is routed to 1.1.1.1 (after "),
            "{}\n{}",
            self.end,
            self.node.log().text()
        );
        assert!(
            self.end.ends_with(&format!(", {requests})")),
            "{}",
            self.end
        );
    }

    #[track_caller]
    pub fn failed(&self, part: &str) {
        let beginning = "[hetzner-failoverip] ERROR 4.4.4.4 is not routed to 1.1.1.1: ";
        assert!(
            self.end.starts_with(beginning) && self.end.contains(part),
            "{part}\n{}\n{}",
            self.end,
            self.node.log().text()
        );
    }

    #[track_caller]
    pub fn is_unconfirmed(&self) {
        let beginning = "[hetzner-failoverip] WARNING 4.4.4.4 is routed to 1.1.1.1, unconfirmed";
        assert!(self.end.starts_with(beginning), "{}", self.end);
    }
}

/// Waits for a line with this part; shows the log if it does not come.
#[track_caller]
pub fn wait(node: &Node, part: &str, patience: Duration) -> String {
    node.log()
        .wait_for(part, patience)
        .unwrap_or_else(|| panic!("no line with `{part}` in:\n{}", node.log().text()))
}

/// Waits for a line with any of these parts.
#[track_caller]
pub fn wait_any(node: &Node, parts: &[&str]) -> String {
    node.log()
        .wait_for_any(parts, PATIENCE)
        .unwrap_or_else(|| panic!("no line with any of {parts:?} in:\n{}", node.log().text()))
}
