//! A node that failed still votes, a sick application hands the address on, and nobody takes it
//! back needlessly.

use std::time::{Duration, Instant};

use testbed::health::{Application, Behaviour};
use testbed::robot::{Fault, Method, When};
use testbed::uwsgi::{Legion, NodeConfig, PATIENCE};

use crate::Test;
use crate::cluster::{Cluster, LORD, SERVERS};
use crate::context::{Context, action, ip, lone_node, robot, wait};

pub const TESTS: &[Test] = tests![
    standing_one_dead_one_with_a_wrong_password,
    standing_with_the_default_frequency,
    standing_one_dead_one_without_a_connection,
    standing_maintenance_while_one_is_dead,
    standing_all_fail_and_somebody_tries_again,
    standing_alone_it_tries_again,
    standing_a_mended_node_is_lord_again,
    standing_with_a_suspension_of_1_s,
    standing_nopreempt_keeps_the_lord,
    standing_five_nodes_two_failing,
    standing_ends_with_the_process,
    standing_without_death_on_lord_error,
    standing_alone_without_death_on_lord_error,
    standing_of_a_low_valor_without_death_on_lord_error,
    standing_after_another_hook_failed,
    standing_beside_nodes_without_the_plugin,
    health_a_sick_application_hands_over,
    health_a_hanging_application_hands_over,
    health_all_sick_and_the_address_rests,
    health_a_node_that_starts_is_not_fit_at_once,
    health_alone_it_stands_all_the_same
];

const STEPPED_BACK: &str = ": this node votes, but ";

/// As it is recommended.
const USUAL: &str = "legion-death-on-lord-error = 300";

fn cluster(context: &Context) -> Cluster<'_> {
    Cluster::new(context, |_| {}).with(USUAL)
}

fn standing_one_dead_one_with_a_wrong_password(context: &Context) {
    let mut cluster = cluster(context).with_keys_of(1, "password=wrong");
    for node in [1, 2] {
        cluster.start(node);
    }
    cluster.wait(1, "refused the login (401)");
    cluster.wait_for_route_within(2, Duration::from_secs(10));
    cluster.wait(2, LORD);
    cluster.is_settled_on(2);
    assert_eq!(cluster.posts_of(1), 1, "{}", cluster.logs());
    // It votes: without its vote there is no quorum.
    cluster.wait(2, "[uwsgi-legion-node] arbiter: ");
}

/// uWSGI's own defaults. Whatever takes rounds takes three times as long.
fn standing_with_the_default_frequency(context: &Context) {
    let slow = format!("legion-freq = 3\nlegion-tolerance = 15\n{USUAL}");
    let mut cluster = Cluster::new(context, |_| {})
        .with(&slow)
        .with_keys_of(1, "password=wrong");
    for node in [1, 2] {
        cluster.start(node);
    }
    cluster.wait(1, "refused the login (401)");
    cluster.wait_for_route_within(2, Duration::from_secs(45));
    cluster.wait(2, LORD);
    cluster.is_settled_on(2);
    assert_eq!(cluster.posts_of(1), 1, "{}", cluster.logs());
    assert!(cluster.node(1).log().contains(STEPPED_BACK));
}

fn standing_one_dead_one_without_a_connection(context: &Context) {
    let mut cluster = cluster(context).with_relays();
    cluster.set_robot_open(1, false);
    for node in [1, 2] {
        cluster.start(node);
    }
    cluster.wait(1, "no connection to localhost");
    cluster.wait_for_route_within(2, Duration::from_secs(30));
    cluster.is_settled_on(2);
    assert!(cluster.node(1).log().contains("no connection for 1"));
}

fn standing_maintenance_while_one_is_dead(context: &Context) {
    let mut cluster = cluster(context).with_keys("deadline=60");
    let unavailable = Fault::error(503, "INTERNAL_ERROR", "maintenance");
    cluster.robot.order(When::Always(Method::Any), unavailable);
    for node in [1, 2] {
        cluster.start(node);
    }
    cluster.wait(1, "4.4.4.4 -> 2.2.2.2");
    // A minute of it.
    cluster.wait_for_rounds(1, 30);
    cluster.wait_for_rounds(1, 30);
    cluster.robot.clear_orders();
    let is_routed = |node: usize| cluster.robot.route(ip("4.4.4.4")) == Some(ip(SERVERS[node]));
    let give_up = Instant::now() + Duration::from_secs(20);
    while !is_routed(1) && !is_routed(2) {
        assert!(Instant::now() < give_up, "{}", cluster.logs());
        cluster.wait_for_rounds(2, 1);
    }
    assert!(cluster.robot.posts() <= 10, "{}", cluster.robot.posts());
}

/// Each failure is followed by another try within 30 s, and nobody posts too often.
fn standing_all_fail_and_somebody_tries_again(context: &Context) {
    let cluster = cluster(context).with_keys("timeout=2,deadline=4").started();
    let unavailable = Fault::error(503, "INTERNAL_ERROR", "maintenance");
    cluster.robot.order(When::Always(Method::Any), unavailable);
    cluster.wait(0, "4.4.4.4 is");
    for _ in 0..6 {
        let so_far = cluster.robot.requests().len();
        let tried =
            cluster
                .robot
                .wait_for_requests(Method::Any, so_far + 1, Duration::from_secs(30));
        assert!(tried, "{}", cluster.logs());
    }
    cluster.robot.clear_orders();
    let give_up = Instant::now() + PATIENCE;
    while cluster.robot.route(ip("4.4.4.4")).is_none() {
        assert!(Instant::now() < give_up, "{}", cluster.logs());
        cluster.wait_for_rounds(0, 1);
    }
}

fn standing_alone_it_tries_again(context: &Context) {
    let mut cluster = cluster(context)
        .with_quorum(1)
        .with_keys("timeout=2,deadline=4");
    let unavailable = Fault::error(503, "INTERNAL_ERROR", "maintenance");
    cluster.robot.order(When::Always(Method::Any), unavailable);
    cluster.start(0);
    cluster.wait(0, "ERROR 4.4.4.4 is not routed");
    cluster.robot.clear_orders();
    cluster.wait_for_route_within(0, Duration::from_secs(45));
    cluster.wait(0, LORD);
}

/// It fails, steps back, and is Lord again once it is restarted with the right password.
fn standing_a_mended_node_is_lord_again(context: &Context) {
    let mut cluster = cluster(context).with_keys_of(0, "password=wrong").started();
    cluster.wait_for_route(1);
    cluster.is_settled_on(1);
    cluster.node_mut(0).stop(PATIENCE);
    cluster = cluster.with_keys_of(0, "");
    cluster.start(0);
    cluster.is_settled_on(0);
}

/// Too short, as the boot warns. The node is fit again at once, and never silent.
fn standing_with_a_suspension_of_1_s(context: &Context) {
    let cluster = cluster(context).with("legion-death-on-lord-error = 1");
    let refusal = Fault::error(403, "FORBIDDEN", "not today");
    cluster.robot.order(When::Once(Method::Post), refusal);
    let cluster = cluster.started();
    cluster.is_settled_on(0);
    // Whichever node was Lord first.
    let logs = cluster.logs();
    assert!(logs.contains(STEPPED_BACK), "{logs}");
}

fn standing_nopreempt_keeps_the_lord(context: &Context) {
    let mut cluster = cluster(context)
        .with(&format!("{USUAL}\nhetzner-nopreempt = failover"))
        .started();
    cluster.is_settled_on(0);
    cluster.kill(0);
    cluster.is_settled_on(1);
    cluster.wait(1, "stays Lord even if a node with a higher valor returns");
    cluster.start(0);
    cluster.wait_for_rounds(0, 10);
    assert_eq!(cluster.lords(), [1], "{}", cluster.logs());
    assert_eq!(cluster.posts_of(0), 1, "{}", cluster.logs());
    // It gives way when it leaves.
    cluster.node_mut(1).stop(PATIENCE);
    cluster.is_settled_on(0);
}

fn standing_five_nodes_two_failing(context: &Context) {
    let cluster = Cluster::of(context, 5, |_| {})
        .with(USUAL)
        .with_keys_of(0, "password=wrong")
        .with_keys_of(1, "password=wrong")
        .started();
    cluster.wait_for_route(2);
    cluster.is_settled_on(2);
    for node in [0, 1] {
        assert_eq!(cluster.posts_of(node), 1, "{}", cluster.logs());
    }
}

/// A node that stepped back is reloaded, and stands as it is configured.
fn standing_ends_with_the_process(context: &Context) {
    let cluster = cluster(context);
    cluster.robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    let mut cluster = cluster.started();
    cluster.wait(0, STEPPED_BACK);
    cluster.is_settled_on(1);
    cluster.node(0).signal(libc::SIGHUP);
    cluster.is_settled_on(0);
    assert_eq!(
        cluster
            .node_mut(0)
            .stop(PATIENCE)
            .and_then(|status| status.code()),
        Some(0)
    );
    cluster.is_settled_on(1);
}

/// uWSGI alone would make it Lord in spite of the failure.
fn standing_without_death_on_lord_error(context: &Context) {
    let cluster = Cluster::new(context, |_| {}).with("");
    cluster.robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    let cluster = cluster.started();
    cluster.wait(0, STEPPED_BACK);
    cluster.wait_for_route(1);
    cluster.wait(1, LORD);
}

/// uWSGI makes it Lord, and takes that back at once, before the master's next cycle.
fn standing_alone_without_death_on_lord_error(context: &Context) {
    let robot = robot();
    let unavailable = Fault::error(503, "INTERNAL_ERROR", "maintenance");
    robot.order(When::Always(Method::Any), unavailable);
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line(format!(
            "legion-lord = failover {}",
            action(&robot, "timeout=2,deadline=4")
        ))
        .line("legion-freq = 1\nlegion-tolerance = 5");
    let node = context.start(&config);
    wait(&node, STEPPED_BACK, PATIENCE);
    robot.clear_orders();
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
}

/// It has no room to step back by its valor, and uWSGI does not suspend it.
fn standing_of_a_low_valor_without_death_on_lord_error(context: &Context) {
    let robot = robot();
    robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0).replace(" 9999 ", " 7 "))
        .line(format!("legion-lord = failover {}", action(&robot, "")))
        .line("legion-freq = 1\nlegion-tolerance = 5");
    let node = context.start(&config);
    wait(&node, "ERROR 4.4.4.4 is not routed", PATIENCE);
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", 2 * PATIENCE);
}

/// uWSGI suspends a node for every lord hook that fails, and would never let it rejoin.
fn standing_after_another_hook_failed(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let repaired = directory.path().join("repaired");
    let hook = format!("legion-lord = failover cmd:test -e {}", repaired.display());
    // Long enough to see the address rest there.
    let cluster = Cluster::new(context, |_| {})
        .with("legion-death-on-lord-error = 30")
        .with_lines_of(0, &hook)
        .started();
    cluster.wait(0, "ERROR, lord hook returned");
    cluster.is_settled_on(1);
    std::fs::write(repaired, "").unwrap();
    cluster.is_settled_on(0);
}

/// Their peers see valors that change, and nothing else.
fn standing_beside_nodes_without_the_plugin(context: &Context) {
    let mut cluster = cluster(context).without_plugin(2);
    cluster.robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    for node in 0..3 {
        cluster.start(node);
    }
    cluster.wait(0, STEPPED_BACK);
    cluster.is_settled_on(1);
}

/// A legion of nodes with an application each.
fn with_applications(context: &Context) -> (Cluster<'_>, Vec<Application>) {
    let mut cluster = cluster(context);
    let mut applications = Vec::new();
    for node in 0..3 {
        let application = Application::start().expect("an application");
        cluster = cluster.with_lines_of(
            node,
            &format!(
                "hetzner-health = failover url={},interval=1,timeout=1,fall=2,rise=2",
                application.url("/healthz")
            ),
        );
        applications.push(application);
    }
    (cluster, applications)
}

fn hands_over(context: &Context, behaviour: Behaviour, reason: &str) {
    let (cluster, applications) = with_applications(context);
    let cluster = cluster.started();
    cluster.is_settled_on(0);
    applications[0].set(behaviour).unwrap();
    let line = cluster.wait(0, "sick: http");
    assert!(line.contains(reason), "{line}");
    cluster.is_settled_on(1);
    applications[0].set(Behaviour::Status(200)).unwrap();
    cluster.wait_nth(0, "healthy: http", 2);
    cluster.is_settled_on(0);
}

fn health_a_sick_application_hands_over(context: &Context) {
    hands_over(
        context,
        Behaviour::Status(500),
        "answered 500 twice in a row",
    );
}

fn health_a_hanging_application_hands_over(context: &Context) {
    hands_over(context, Behaviour::Hang, "did not answer within 1 s");
}

/// Two switches at most, and then rest.
fn health_all_sick_and_the_address_rests(context: &Context) {
    let (cluster, applications) = with_applications(context);
    let cluster = cluster.started();
    cluster.is_settled_on(0);
    let posts = cluster.robot.posts();
    for application in &applications {
        application.set(Behaviour::Status(503)).unwrap();
    }
    for node in 0..3 {
        cluster.wait(node, "sick: http");
    }
    cluster.is_settled_on(0);
    cluster.wait_for_rounds(0, 10);
    assert!(cluster.robot.posts() <= posts + 2, "{}", cluster.logs());
    assert_eq!(cluster.lords(), [0]);
}

/// The best node is not Lord before its application was seen to work.
fn health_a_node_that_starts_is_not_fit_at_once(context: &Context) {
    let (mut cluster, applications) = with_applications(context);
    applications[0].set(Behaviour::Status(503)).unwrap();
    // If all started together, none of them would be fit at first.
    for node in [1, 2] {
        cluster.start(node);
    }
    cluster.is_settled_on(1);
    cluster.start(0);
    cluster.wait(0, "sick: http");
    cluster.wait_for_rounds(0, 8);
    assert_eq!(cluster.lords(), [1], "{}", cluster.logs());
    assert_eq!(cluster.posts_of(0), 0, "{}", cluster.logs());
    applications[0].set(Behaviour::Status(200)).unwrap();
    cluster.is_settled_on(0);
}

fn health_alone_it_stands_all_the_same(context: &Context) {
    let robot = robot();
    let config = lone_node(&action(&robot, ""))
        .line("hetzner-health = failover url=tcp://127.0.0.1:1,interval=1,timeout=1,fall=1,rise=1");
    let node = context.start(&config);
    wait(
        &node,
        "sick: tcp://127.0.0.1:1 could not be reached",
        PATIENCE,
    );
    wait(&node, LORD, PATIENCE);
}
