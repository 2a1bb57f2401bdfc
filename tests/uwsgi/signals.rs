//! What happens to a node while its takeover runs.

use std::time::Duration;

use testbed::robot::{Method, Robot};
use testbed::uwsgi::{Node, PATIENCE, process};

use crate::Test;
use crate::context::{Context, action, ip, lone_node, robot_with, wait};

pub const TESTS: &[Test] = tests![
    signals_change_nothing,
    signals_sigint_ends_uwsgi_during_a_takeover,
    signals_sighup_reloads_uwsgi_during_a_takeover,
    workers_inherit_nothing_from_a_takeover
];

/// Far less than the takeover would take, far more than uWSGI needs.
const SOON: Duration = Duration::from_secs(15);

/// A node in the middle of a takeover that will not end by itself.
fn in_a_takeover(context: &Context) -> (Robot, Node) {
    let robot = robot_with(|settings| settings.switch_time = Duration::from_secs(3600));
    let node = context.start(&lone_node(&action(&robot, "timeout=600")));
    assert!(robot.wait_for_requests(Method::Post, 1, PATIENCE));
    (robot, node)
}

/// No wait fails or ends early: the one POST that is on its way is waited for.
fn signals_change_nothing(context: &Context) {
    let robot = robot_with(|settings| settings.switch_time = Duration::from_secs(4));
    let mut node = context.start(&lone_node(&action(&robot, "")));
    assert!(robot.wait_for_requests(Method::Post, 1, PATIENCE));
    let end = "4.4.4.4 is routed to 1.1.1.1";
    let mut sent = 0;
    let between = Duration::from_millis(1);
    while node.log().wait_for(end, between).is_none() && sent < 100_000 {
        for signal in [libc::SIGCHLD, libc::SIGWINCH, libc::SIGUSR1, libc::SIGCONT] {
            node.signal(signal);
            sent += 1;
        }
    }
    assert!(sent > 400, "{sent} signals are no storm");
    let line = wait(&node, end, PATIENCE);
    assert!(line.ends_with(", 1 request)"), "{line}");
    assert!(!node.crashed());
}

fn signals_sigint_ends_uwsgi_during_a_takeover(context: &Context) {
    let (_robot, mut node) = in_a_takeover(context);
    let status = node.stop(SOON);
    assert_eq!(
        status.and_then(|status| status.code()),
        Some(0),
        "{}",
        node.log().text()
    );
    assert!(node.log().contains("goodbye to uWSGI."));
}

fn signals_sighup_reloads_uwsgi_during_a_takeover(context: &Context) {
    let (robot, mut node) = in_a_takeover(context);
    node.signal(libc::SIGHUP);
    let again = node
        .log()
        .wait_for_nth("spawned uWSGI master process", 2, SOON);
    assert!(again.is_some(), "{}", node.log().text());
    robot.set_switch_time(Duration::ZERO);
    robot.set_route(ip("4.4.4.4"), None);
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    assert!(!node.crashed());
}

/// The process id that a line names after this.
fn pid_in(line: &str, before: &str) -> u32 {
    let rest = line.split(before).nth(1).expect("the line names a process");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a process id")
}

fn workers_inherit_nothing_from_a_takeover(context: &Context) {
    let (robot, node) = in_a_takeover(context);
    let first = pid_in(&wait(&node, "spawned uWSGI worker 1", PATIENCE), "(pid: ");
    // SAFETY: a worker of a node that is ours.
    unsafe { libc::kill(first as i32, libc::SIGKILL) };
    let second = pid_in(
        &wait(&node, "Respawned uWSGI worker 1", PATIENCE),
        "(new pid: ",
    );
    let connections = process::connections_to(robot.port());
    let open = |pid| {
        let files = process::open_files(pid);
        files
            .iter()
            .filter(|file| connections.contains(*file))
            .count()
    };
    assert_eq!((open(node.pid()), open(second)), (1, 0));
    assert_eq!(process::threads(second), 1);
    // The takeover goes on.
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    let end = wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    assert!(end.ends_with(", 1 request)"), "{end}");
    wait(&node, "i am now the Lord", PATIENCE);
    let threads_of_uwsgi = 2; // main and legion
    assert_eq!(process::threads(node.pid()), threads_of_uwsgi);
}
