//! Many takeovers in one process: none of them leaves anything behind.
//!
//! A short soak is one of the tests; `SOAK=10000` makes it that long (`make soak`).

use std::fmt::Write;
use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant};

use testbed::cloud::{self, Cloud, Requests};
use testbed::robot::{Certificate, Ciphers, Fault, Method, Robot, Settings, When};
use testbed::uwsgi::{Legion, Node, NodeConfig, PATIENCE};

use crate::Test;
use crate::context::{Context, action, action_to, ip, robot_with};
use crate::driver::{driven_node, driver, wait_for_mark};

pub const TESTS: &[Test] = tests![
    soak_leaves_nothing_behind,
    soak_of_several_addresses_with_looks_and_probes
];

/// How many takeovers, unless `SOAK` specifies another number.
const DEFAULT_NUMBER: u32 = 300;

/// How much resident memory may grow, in KiB, because uWSGI and the C library touch pages for the
/// first time, such as buffers of the log. Ten thousand takeovers that lose 50 bytes each lose as
/// much.
const SLACK: u64 = 512;

/// Mock Robots, each with one way to answer at once, and the actions that use them.
pub struct Crowd {
    ciphers: Ciphers,
    robots: Vec<Robot>,
    arguments: Vec<String>,
}

impl Crowd {
    /// Good answers, and bad ones of every kind that takes no time, over TLS with these ciphers.
    pub fn mixed(ciphers: Ciphers) -> Crowd {
        let mut crowd = Crowd {
            ciphers,
            robots: Vec::new(),
            arguments: Vec::new(),
        };
        crowd.add_good();
        for status in [400, 401, 403, 404, 422, 429] {
            crowd.add(Fault::error(status, "X", "a message"));
        }
        crowd.add(Fault::Redirect {
            status: 302,
            location: "https://elsewhere.example/".into(),
        });
        crowd.add(Fault::invalid_input(&["a"], &["b"]));
        // Already routed.
        crowd.add(Fault::Nothing);
        // Whether it was switched is unknown until a query tells.
        for fault in [
            Fault::Reset,
            Fault::Close,
            Fault::Garbage,
            Fault::Truncate,
            Fault::Endless,
            Fault::Compressed,
            Fault::page(503),
            Fault::error(409, "CONFLICT", "a message"),
            Fault::Oversize { bytes: 100_000 },
        ] {
            crowd.add(fault);
        }
        for certificate in [Certificate::UnknownCa, Certificate::Expired] {
            let robot = crowd.robot(|settings| settings.certificate = certificate);
            crowd.ask(robot, "");
        }
        for mistake in ["ip=4.4.4", "ca_file=/nonexistent/ca.pem"] {
            let robot = crowd.robot(|_| {});
            crowd.ask(robot, mistake);
        }
        crowd
    }

    /// There and back, so that each is a real switch.
    fn add_good(&mut self) {
        let robot = self.robot(|_| {});
        let arguments = ["1.1.1.1", "3.3.3.3"].map(|to| action_to(&robot, to, ""));
        self.arguments.extend(arguments);
        self.robots.push(robot);
    }

    /// The failover IP is already routed as ordered, but this is the answer to a `POST`.
    fn add(&mut self, fault: Fault) {
        let robot = self.robot(|_| {});
        robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
        robot.order(When::Always(Method::Post), fault);
        self.ask(robot, "");
    }

    /// One takeover that never gets through, which takes a second.
    fn add_unreachable(&mut self) {
        let robot = self.robot(|_| {});
        robot.refuse_connections();
        self.ask(robot, "timeout=1,deadline=1");
    }

    fn robot(&self, adapt: impl FnOnce(&mut Settings)) -> Robot {
        robot_with(|settings| {
            settings.posts_per_hour = None;
            settings.gets_per_hour = None;
            settings.ciphers = self.ciphers;
            adapt(settings);
        })
    }

    fn ask(&mut self, robot: Robot, more: &str) {
        self.arguments.push(action(&robot, more));
        self.robots.push(robot);
    }

    /// In the form that the driver reads.
    pub fn arguments(&self) -> String {
        self.arguments
            .iter()
            .fold(String::new(), |mut text, action| {
                let argument = action.strip_prefix("hetzner-failoverip:").unwrap_or(action);
                let _ = writeln!(text, "{argument}");
                text
            })
    }
}

/// How many takeovers.
fn number() -> u32 {
    let number = std::env::var("SOAK").map_or(DEFAULT_NUMBER, |number| {
        number.parse().expect("SOAK is a number of takeovers")
    });
    assert!(number > 200, "too few to compare with the first hundred");
    number
}

/// The four addresses of a soak with several.
fn ips() -> Vec<IpAddr> {
    (4..8).map(|last| IpAddr::from([4, 4, 4, last])).collect()
}

/// Takeovers of four addresses at once, good ones and failures, while the Lord of another legion in the
/// same process looks where its addresses are, and its application is probed.
fn soak_of_several_addresses_with_looks_and_probes(context: &Context) {
    let number = number();
    let several = |fault: Option<Fault>, servers: &[&str]| {
        let robot = robot_with(|settings| {
            settings.posts_per_hour = None;
            settings.gets_per_hour = None;
            settings.username = "FOO*".into();
            // A refusal is only seen if there is something to do.
            let at = match &fault {
                Some(Fault::Reset) | None => ip("1.1.1.1"),
                Some(_) => ip("2.2.2.2"),
            };
            let routed = ips().into_iter().map(|ip| (ip, Some(at)));
            settings.failovers = routed.collect();
        });
        if let Some(fault) = fault {
            robot.order(When::Always(Method::Post), fault);
        }
        let addresses: Vec<String> = ips().iter().map(IpAddr::to_string).collect();
        // The plugin counts requests for each account, of which it remembers sixteen.
        let accounts =
            (0..20).flat_map(|account| servers.iter().map(move |server| (account, server)));
        let arguments = accounts.fold(String::new(), |mut text, (account, server)| {
            let action = action_to(&robot, server, "")
                .replace("username=FOO", &format!("username=FOO{account}"))
                .replace("ip=4.4.4.4,", &format!("ip={},", addresses.join(" ")))
                .replace("/4.4.4.4,", "/{ip},");
            let _ = writeln!(text, "{}", action.trim_start_matches("hetzner-failoverip:"));
            text
        });
        (robot, arguments)
    };
    let crowd = [
        several(None, &["3.3.3.3", "1.1.1.1"]),
        several(Some(Fault::Reset), &["1.1.1.1"]),
        several(Some(Fault::error(401, "UNAUTHORIZED", "no")), &["1.1.1.1"]),
        several(Some(Fault::error(404, "NOT_FOUND", "no")), &["1.1.1.1"]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("arguments");
    let list: String = crowd
        .iter()
        .map(|(_, arguments)| arguments.as_str())
        .collect();
    std::fs::write(&file, list).unwrap();

    let cloud = Cloud::start(cloud::Settings::default()).expect("the Cloud starts");
    let looked = Legion {
        name: "looked".into(),
        ..Legion::of(1)
    };
    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = application.local_addr().unwrap().port();
    let config = NodeConfig::new()
        .line(format!("plugin = {}", driver().display()))
        .line(looked.member(0))
        .line(format!(
            "legion-lord = looked hetzner-floatingip:token={},ip=131.232.99.1 2001:db8::,server=42,\
             watch=10,endpoint={},ca_file={}",
            cloud::Settings::default().token,
            cloud.endpoint(),
            cloud.ca_file().display()
        ))
        .line(format!(
            "hetzner-health = looked url=tcp://127.0.0.1:{port},interval=1"
        ))
        .line(Legion::of(1).member(0))
        .line(format!(
            "legion-lord = failover takeovers:{number}:{}",
            file.display()
        ))
        .line("legion-freq = 1\nlegion-tolerance = 5");
    let launch = context.launch();
    let adapt = |command: &mut std::process::Command| {
        command.env("DRIVER_PAUSE", "3000");
    };
    let node = Node::start_with(&launch, &config.ini(), adapt).expect("uWSGI starts");
    let patience = PATIENCE + Duration::from_millis(500) * number;
    let before = wait_for_mark(&node, "100", patience);
    let after = wait_for_mark(&node, "end", patience);
    if number > DEFAULT_NUMBER {
        let looks = cloud.count(Requests::READS);
        eprintln!(
            "soak of several addresses: {number} takeovers, {looks} requests of looks; after 100: \
             {before:?}, at the end: {after:?}"
        );
        assert!(looks > 4, "no looks: {looks}");
    }
    let (done, failed) = ends(&node.log().lines());
    assert_eq!(done + failed, number as usize, "a takeover without an end");
    assert!(done > 0 && failed > 0, "{done} succeeded, {failed} failed");
    // A look and a probe may be under way: a thread, and a connection each.
    assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
    assert!(after.files <= before.files + 3, "{before:?} {after:?}");
    assert!(
        after.memory <= before.memory + SLACK,
        "memory has grown: {before:?} {after:?}"
    );
    assert!(
        !node.log().contains("may be exposed"),
        "{}",
        node.log().text()
    );
}

fn soak_leaves_nothing_behind(context: &Context) {
    let number = number();
    let mut crowd = Crowd::mixed(Ciphers::Any);
    let every = crowd.arguments();
    crowd.add_unreachable();
    // The slow ones run once within the first hundred, and rarely afterwards.
    let slow = crowd.arguments().replacen(&every, "", 1);
    let list = every.repeat(2) + &slow + &every.repeat(20);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("arguments");
    std::fs::write(&file, &list).unwrap();
    let config = driven_node().line(format!(
        "legion-lord = failover takeovers:{number}:{}",
        file.display()
    ));
    let start = Instant::now();
    let node = context.start(&config);
    let patience = PATIENCE + Duration::from_millis(500) * number;
    let before = wait_for_mark(&node, "100", patience);
    let after = wait_for_mark(&node, "end", patience);
    if number > DEFAULT_NUMBER {
        let seconds = start.elapsed().as_secs();
        eprintln!(
            "soak: {number} takeovers in {seconds} s; after 100: {before:?}, at the end: {after:?}"
        );
    }
    let (done, failed) = ends(&node.log().lines());
    assert_eq!(done + failed, number as usize, "a takeover without an end");
    assert!(done > 0 && failed > 0, "{done} succeeded, {failed} failed");
    assert_eq!(
        (after.threads, after.files),
        (before.threads, before.files),
        "{before:?} {after:?}"
    );
    assert!(
        after.memory <= before.memory + SLACK,
        "memory has grown: {before:?} {after:?}"
    );
    let line = node.log().wait_for("takeovers, ", PATIENCE).unwrap();
    let expected = format!("[driver] {number} takeovers, {failed} failed");
    assert_eq!(line, expected, "the log and the return values disagree");
}

/// How many lines report a success, and how many a failure.
fn ends(lines: &[String]) -> (usize, usize) {
    let texts = lines
        .iter()
        .filter_map(|line| line.strip_prefix("[hetzner-failoverip] "));
    texts.fold((0, 0), |(done, failed), text| {
        let is_done = text.starts_with("4.4.4.4 is routed to");
        // Two of the arguments are mistaken, each in one way.
        let failures = ["ERROR 4.4.4.4 is not", "ERROR ip: ", "ERROR ca_file: "];
        let is_failed = failures.iter().any(|failure| text.starts_with(failure));
        (done + usize::from(is_done), failed + usize::from(is_failed))
    })
}
