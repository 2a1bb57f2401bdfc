//! Switches as slow as real ones, in real time.

use std::time::Duration;

use testbed::robot::{Fault, Method, When};
use testbed::uwsgi::PATIENCE;

use crate::Test;
use crate::context::{Context, action, ip, lone_node, robot_with, wait};

pub const TESTS: &[Test] = tests![
    slow_switch_of_150_s_answered_early,
    slow_switch_of_150_s_answered_early_without_status,
    slow_switch_of_150_s_lost_at_60_s,
    slow_switch_of_110_s_lost_at_60_s_without_status
];

/// A takeover with the defaults succeeds, with three posts at most.
fn succeeds(context: &Context, seconds: u64, shows_status: bool, fault: Fault) {
    let switch_time = Duration::from_secs(seconds);
    let robot = robot_with(|settings| {
        settings.switch_time = switch_time;
        settings.shows_status = shows_status;
    });
    robot.order(When::Always(Method::Post), fault);
    let node = context.start(&lone_node(&action(&robot, "")));
    let end = wait(&node, "4.4.4.4 is", switch_time + PATIENCE);
    assert!(
        end.contains("4.4.4.4 is routed to 1.1.1.1 (after "),
        "{}",
        node.log().text()
    );
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
    assert!(robot.posts() <= 3, "{} posts", robot.posts());
    let gets = robot.count(Method::Get);
    assert!(gets <= 50, "{gets} looks");
}

fn slow_switch_of_150_s_answered_early(context: &Context) {
    succeeds(context, 150, true, Fault::early());
}

fn slow_switch_of_150_s_answered_early_without_status(context: &Context) {
    succeeds(context, 150, false, Fault::early());
}

fn slow_switch_of_150_s_lost_at_60_s(context: &Context) {
    let after = Duration::from_secs(60);
    succeeds(context, 150, true, Fault::lost_after(after));
}

fn slow_switch_of_110_s_lost_at_60_s_without_status(context: &Context) {
    let after = Duration::from_secs(60);
    succeeds(context, 110, false, Fault::lost_after(after));
}
