//! `--hetzner-switch` and `--hetzner-unroute`: a route, changed by hand.

use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::robot::{Fault, Method, Robot, When};
use testbed::uwsgi::PATIENCE;

use crate::Test;
use crate::command::{Done, command_line, done, run};
use crate::context::{Context, action, ip, lone_node, robot, robot_with};
use crate::pty::Session;

pub const TESTS: &[Test] = tests![
    switch_needs_a_terminal_or_yes,
    options_of_a_switch_start_no_instance,
    switch_by_hand_is_a_takeover,
    switch_goes_on_when_nobody_reads,
    switch_does_nothing_when_all_is_well,
    switch_asks_on_a_terminal,
    switch_shows_its_progress_on_one_line,
    switch_that_is_interrupted_says_what_is_known,
    switch_stops_at_a_refused_login,
    switch_of_one_address_of_several,
    unroute_by_hand
];

fn by_hand(context: &Context, robot: &Robot, options: &[&str]) -> Done {
    run(context, &lone_node(&action(robot, "")), options)
}

fn session(
    context: &Context,
    directory: &tempfile::TempDir,
    robot: &Robot,
    option: &str,
) -> Session {
    let ini = lone_node(&action(robot, "")).ini();
    let mut command = command_line(context, directory.path(), &ini, &[option]);
    command.stderr(Stdio::null());
    Session::start(command)
}

fn switch_needs_a_terminal_or_yes(context: &Context) {
    let robot = robot();
    for option in ["--hetzner-switch", "--hetzner-unroute"] {
        let done = by_hand(context, &robot, &[option]);
        assert_eq!(done.status, Some(1));
        assert!(done.out.contains("add --hetzner-yes"), "{}", done.out);
    }
    assert_eq!(robot.connections(), 0);
}

/// The command itself is easily forgotten, and the configuration is that of a running instance.
fn options_of_a_switch_start_no_instance(context: &Context) {
    let robot = robot();
    for options in [
        &["--hetzner-yes"][..],
        &["--hetzner-only", "4.4.4.4"],
        &["--hetzner-yes", "--hetzner-only", "4.4.4.4"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = lone_node(&action(&robot, ""))
            .line("pidfile = running.pid")
            .line("vacuum = true")
            // An instance that starts ends at once.
            .line("hook-pre-app = exit:0");
        let pidfile = directory.path().join("running.pid");
        std::fs::write(&pidfile, "1").unwrap();
        let output = command_line(context, directory.path(), &config.ini(), options).output();
        let done = done(output.unwrap());
        assert_eq!(done.status, Some(1), "{}", done.log);
        let expected = "ERROR hetzner-yes and hetzner-only do nothing by themselves";
        assert!(done.log.contains(expected), "{}", done.log);
        assert_eq!(std::fs::read_to_string(&pidfile).unwrap(), "1");
    }
    assert_eq!(robot.connections(), 0);
}

fn switch_by_hand_is_a_takeover(context: &Context) {
    let robot = robot_with(|settings| settings.switch_time = Duration::from_secs(1));
    robot.order(When::Once(Method::Post), Fault::page(503));
    let done = by_hand(context, &robot, &["--hetzner-switch", "--hetzner-yes"]);
    assert_eq!(done.status, Some(0), "{}", done.out);
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines[0], "4.4.4.4 is routed to 2.2.2.2");
    assert!(
        lines[1].starts_with("4.4.4.4 -> 1.1.1.1: the webservice answered 503"),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("4.4.4.4 is routed to 1.1.1.1 (after "),
        "{lines:?}"
    );
    assert!(!done.out.contains('\x1b'));
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

/// As in `... --hetzner-switch --hetzner-yes | head -n 1`, or when the program that logs it ends.
fn switch_goes_on_when_nobody_reads(context: &Context) {
    let robot = robot();
    robot.order(When::Once(Method::Post), Fault::page(503));
    let directory = tempfile::tempdir().unwrap();
    let ini = lone_node(&action(&robot, "")).ini();
    let options = ["--hetzner-switch", "--hetzner-yes"];
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    let mut command = command_line(context, directory.path(), &ini, &options);
    let done = done(command.stdout(pipe).output().unwrap());
    assert_eq!(done.status, Some(0), "{}", done.log);
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

fn switch_does_nothing_when_all_is_well(context: &Context) {
    let robot = robot();
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    let done = by_hand(context, &robot, &["--hetzner-switch", "--hetzner-yes"]);
    assert_eq!(done.status, Some(0));
    assert!(done.out.contains("already"), "{}", done.out);
    assert_eq!(robot.posts(), 0);
}

fn switch_asks_on_a_terminal(context: &Context) {
    let robot = robot();
    for (answer, status, posts) in [("n\n", 1, 0), ("\n", 1, 0), ("y\n", 0, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let mut session = session(context, &directory, &robot, "--hetzner-switch");
        session.wait("Route 4.4.4.4 to 1.1.1.1? [y/N]", PATIENCE);
        assert_eq!(robot.posts(), 0);
        session.type_in(answer);
        assert_eq!(
            session.end(PATIENCE),
            Some(status),
            "{:?}",
            session.screen()
        );
        assert_eq!(robot.posts(), posts);
    }
}

fn switch_shows_its_progress_on_one_line(context: &Context) {
    let robot = robot_with(|settings| settings.switch_time = Duration::from_secs(3));
    let directory = tempfile::tempdir().unwrap();
    let mut session = session(context, &directory, &robot, "--hetzner-switch");
    session.wait("[y/N]", PATIENCE);
    session.type_in("y\n");
    let waiting = "of 300 s, waiting for the answer, which takes up to 110 s";
    session.wait(&format!("4.4.4.4 -> 1.1.1.1: 0 {waiting}"), PATIENCE);
    session.wait(&format!("4.4.4.4 -> 1.1.1.1: 2 {waiting}"), PATIENCE);
    assert_eq!(session.end(PATIENCE), Some(0));
    session.wait("4.4.4.4 is routed to 1.1.1.1 (after 3.", PATIENCE);
    let screen = session.screen();
    assert!(
        screen.iter().all(|line| line.chars().count() < 80),
        "{screen:#?}"
    );
}

fn switch_that_is_interrupted_says_what_is_known(context: &Context) {
    let robot = robot_with(|settings| settings.switch_time = Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let mut session = session(context, &directory, &robot, "--hetzner-switch");
    session.wait("[y/N]", PATIENCE);
    session.type_in("y\n");
    assert!(robot.wait_for_requests(Method::Post, 1, PATIENCE));
    session.wait("waiting for the answer", PATIENCE);
    session.type_in("\x03");
    assert_eq!(session.end(PATIENCE), Some(130), "{:?}", session.screen());
    session.wait("interrupted after ", PATIENCE);
    session.wait("4.4.4.4 is being switched", PATIENCE);
    session.wait("goes on without this command", PATIENCE);
}

fn switch_stops_at_a_refused_login(context: &Context) {
    let robot = robot_with(|settings| settings.failovers.push((ip("5.5.5.5"), None)));
    robot.set_password("other");
    let one = action(&robot, "");
    let other = one.replace("4.4.4.4", "5.5.5.5");
    let config = lone_node(&one).line(format!("legion-lord = failover {other}"));
    let done = run(context, &config, &["--hetzner-switch", "--hetzner-yes"]);
    assert_eq!(done.status, Some(1));
    assert!(
        done.out
            .starts_with("ERROR 4.4.4.4: the webservice refused the login"),
        "{}",
        done.out
    );
    assert_eq!(robot.count(Method::Any), 1);
}

fn switch_of_one_address_of_several(context: &Context) {
    let robot = robot_with(|settings| {
        settings
            .failovers
            .push((ip("5.5.5.5"), Some(ip("2.2.2.2"))));
    });
    let one = action(&robot, "");
    let other = one.replace("4.4.4.4", "5.5.5.5");
    let config = lone_node(&one).line(format!("legion-lord = failover {other}"));
    let options = ["--hetzner-switch", "--hetzner-yes", "--hetzner-only"];
    let done = run(context, &config, &[&options[..], &["6.6.6.6"]].concat());
    assert_eq!(done.status, Some(1));
    assert!(
        done.out.contains("which has 4.4.4.4, 5.5.5.5"),
        "{}",
        done.out
    );
    let done = run(context, &config, &[&options[..], &["5.5.5.5"]].concat());
    assert_eq!(done.status, Some(0), "{}", done.out);
    assert_eq!(robot.route(ip("5.5.5.5")), Some(ip("1.1.1.1")));
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("2.2.2.2")));
    let done = run(context, &config, &options[..2]);
    assert_eq!(done.status, Some(0), "{}", done.out);
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

fn unroute_by_hand(context: &Context) {
    let robot = robot();
    robot.order(When::Once(Method::Delete), Fault::locked());
    let done = by_hand(context, &robot, &["--hetzner-unroute", "--hetzner-yes"]);
    assert_eq!(done.status, Some(0), "{}", done.out);
    assert!(
        done.out.contains("4.4.4.4 is routed to no server (after"),
        "{}",
        done.out
    );
    assert_eq!(robot.route(ip("4.4.4.4")), None);
    assert_eq!((robot.posts(), robot.count(Method::Delete)), (0, 2));
    let again = by_hand(context, &robot, &["--hetzner-unroute", "--hetzner-yes"]);
    assert!(again.out.contains("already"), "{}", again.out);
}
