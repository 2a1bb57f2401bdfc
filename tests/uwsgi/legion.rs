//! The legion stays alive: while a takeover runs, after it failed, and whatever happens to
//! its nodes.

use std::time::Duration;

use testbed::robot::{Fault, Method, When};
use testbed::uwsgi::{PATIENCE, Relay};

use crate::Test;
use crate::cluster::{Cluster, LORD};
use crate::context::{Context, ip};

pub const TESTS: &[Test] = tests![
    legion_heartbeat_while_switching,
    legion_heartbeat_while_locked,
    legion_heartbeat_while_refused,
    legion_returns_after_failures_quorum_2,
    legion_returns_after_failures_quorum_1,
    legion_death_is_announced_after_a_failure,
    legion_low_valor_steps_back_by_silence,
    legion_death_is_announced_after_a_suspension,
    legion_lord_is_killed,
    legion_lord_is_frozen,
    legion_lord_is_frozen_during_its_takeover,
    legion_lord_loses_its_quorum_after_a_recent_warning,
    legion_lord_is_not_heard_for_a_while,
    legion_lord_is_not_heard_by_one_peer,
    legion_returns_after_a_short_suspension,
    legion_lord_is_shut_down,
    legion_lord_is_reloaded,
    legion_lord_dies_in_the_middle_of_a_takeover
];

/// Longer than legion-tolerance, by three times.
const LONG: Duration = Duration::from_secs(15);

/// One takeover that took longer than the tolerance, and a legion that did not notice.
#[track_caller]
fn took_long_unnoticed(cluster: &Cluster) {
    cluster.is_settled_on(0);
    cluster.nobody_left();
    for (node, lords) in [(0, 1), (1, 0), (2, 0)] {
        assert_eq!(
            cluster.node(node).log().count(LORD),
            lords,
            "{}",
            cluster.logs()
        );
    }
    let long = "still waiting after 10 s";
    assert!(cluster.node(0).log().contains(long), "{}", cluster.logs());
}

fn legion_heartbeat_while_switching(context: &Context) {
    let cluster = Cluster::new(context, |settings| settings.switch_time = LONG).started();
    took_long_unnoticed(&cluster);
    assert_eq!(cluster.robot.posts(), 1);
}

fn legion_heartbeat_while_locked(context: &Context) {
    let cluster = Cluster::new(context, |_| {}).started();
    cluster
        .robot
        .lock(ip("4.4.4.4"), Duration::from_secs(3600), true);
    cluster.wait(0, "a switch is running");
    cluster.robot.lock(ip("4.4.4.4"), LONG, true);
    took_long_unnoticed(&cluster);
}

fn legion_heartbeat_while_refused(context: &Context) {
    let cluster = Cluster::new(context, |_| {});
    cluster.robot.refuse_connections();
    let cluster = cluster.started();
    cluster.wait(0, "no connection to localhost");
    // Longer than legion-tolerance, and shorter than a node goes on without any connection.
    cluster.wait_for_rounds(0, 10);
    cluster.robot.accept_connections().unwrap();
    took_long_unnoticed(&cluster);
    assert_eq!(cluster.robot.posts(), 1);
}

/// What a node logs when its takeover failed.
const STEPPED_BACK: &str = ": this node votes, but ";

/// The webservice fails until these nodes have, and then works.
fn returns(cluster: Cluster, failing: &[usize]) {
    let cluster = cluster.with_keys("timeout=1,deadline=1");
    cluster.robot.order(
        When::Always(Method::Any),
        Fault::error(503, "INTERNAL_ERROR", "maintenance"),
    );
    let cluster = cluster.started();
    for &node in failing {
        cluster.wait(node, "suspending myself from Legion \"failover\"");
        cluster.wait(node, STEPPED_BACK);
    }
    cluster.robot.clear_orders();
    cluster.is_settled_on(0);
}

fn legion_returns_after_failures_quorum_2(context: &Context) {
    let cluster = Cluster::new(context, |_| {}).with("legion-death-on-lord-error = 8");
    returns(cluster, &[0, 1, 2]);
}

fn legion_returns_after_failures_quorum_1(context: &Context) {
    let cluster = Cluster::new(context, |_| {})
        .with("legion-death-on-lord-error = 15")
        .with_quorum(1);
    returns(cluster, &[0, 1, 2]);
}

/// A node that fails and steps back for long.
fn failed(context: &Context, seconds: u32) -> Cluster<'_> {
    let cluster = Cluster::new(context, |_| {})
        .with(&format!("legion-death-on-lord-error = {seconds}"))
        .with_keys("timeout=1,deadline=1");
    cluster.robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    let cluster = cluster.started();
    cluster.wait(0, STEPPED_BACK);
    cluster
}

fn legion_death_is_announced_after_a_failure(context: &Context) {
    let mut cluster = failed(context, 600);
    cluster.wait_for_route(1);
    // It goes on announcing itself, as a node that only votes.
    cluster.wait_for_rounds(0, 3);
    cluster.wait(1, "[uwsgi-legion] arbiter: ");
    assert!(cluster.node_mut(0).stop(PATIENCE).is_some());
    let died = |line: &String| line.contains("arbiter: ") && line.contains("announced its death");
    let found = cluster.node(1).log().wait_until(PATIENCE, |lines| {
        lines.iter().any(|(_, line)| died(line)).then_some(())
    });
    assert!(found.is_some(), "{}", cluster.logs());
}

fn legion_death_is_announced_after_a_suspension(context: &Context) {
    let mut cluster = failed(context, 3);
    cluster.is_settled_on(0);
    let deaths = cluster.node(1).log().count("announced its death");
    assert!(cluster.node_mut(0).stop(PATIENCE).is_some());
    cluster.wait_nth(1, "announced its death", deaths + 1);
    cluster.is_settled_on(1);
}

/// A node whose configured valor leaves no room below it falls silent, as uWSGI does it, and comes
/// back.
fn legion_low_valor_steps_back_by_silence(context: &Context) {
    let robot = crate::context::robot();
    robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    let legion = testbed::uwsgi::Legion::of(1);
    let member = legion.member(0).replace(" 9999 ", " 7 ");
    let action = crate::context::action(&robot, "");
    let node = context.start(
        &testbed::uwsgi::NodeConfig::new()
            .line(member)
            .line(format!("legion-lord = failover {action}"))
            .line("legion-freq = 1\nlegion-tolerance = 5\nlegion-death-on-lord-error = 5"),
    );
    crate::context::wait(
        &node,
        "will rejoin the legion when its suspension ends",
        PATIENCE,
    );
    crate::context::wait(&node, "i am now the Lord", PATIENCE);
}

fn settled<'a>(context: &'a Context) -> Cluster<'a> {
    let cluster = Cluster::new(context, |_| {}).started();
    cluster.wait(0, LORD);
    cluster.wait_for_route(0);
    // Its peers agree.
    cluster.wait_for_rounds(0, 3);
    cluster
}

fn legion_lord_is_killed(context: &Context) {
    let mut cluster = settled(context);
    cluster.kill(0);
    cluster.is_settled_on(1);
}

fn legion_lord_is_frozen(context: &Context) {
    let cluster = settled(context);
    cluster.node(0).signal(libc::SIGSTOP);
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    // It finds out in one of two ways: by itself, or when its peers do not answer.
    cluster.node(0).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
}

fn legion_lord_is_frozen_during_its_takeover(context: &Context) {
    let cluster = Cluster::new(context, |settings| {
        settings.switch_time = Duration::from_secs(3);
    })
    .started();
    cluster.wait(0, "4.4.4.4 -> 1.1.1.1");
    assert!(cluster.robot.wait_for_requests(Method::Post, 1, PATIENCE));
    cluster.node(0).signal(libc::SIGSTOP);
    // Its switch ends, and then another takes the IP, before it hears of either.
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    cluster.node(0).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
}

/// A Lord whose peers are silent steps down, although it has just warned of no quorum.
fn legion_lord_loses_its_quorum_after_a_recent_warning(context: &Context) {
    let mut cluster = Cluster::new(context, |_| {});
    cluster.start(0);
    cluster.wait(0, "no quorum: only 1 vote(s) for Legion failover");
    cluster.start(1);
    cluster.start(2);
    cluster.wait(0, LORD);
    for peer in [1, 2] {
        cluster.node(peer).signal(libc::SIGSTOP);
    }
    // uWSGI alone would say so 60 s after its last warning.
    let sign = "i cannot be The Lord of The Legion failover without a quorum";
    cluster.wait_for_rounds(0, 15);
    assert!(cluster.node(0).log().contains(sign), "{}", cluster.logs());
    for peer in [1, 2] {
        cluster.node(peer).signal(libc::SIGCONT);
    }
    cluster.wait_nth(0, LORD, 2);
    cluster.is_settled_on(0);
}

/// It hears its peers, they do not hear it, and replace it.
fn legion_lord_is_not_heard_for_a_while(context: &Context) {
    let mut cluster = Cluster::new(context, |_| {});
    let relays = [1, 2].map(|peer| Relay::to(cluster.legion.ports[peer]));
    cluster.start_behind(0, &relays);
    cluster.start(1);
    cluster.start(2);
    cluster.wait(0, LORD);
    for relay in &relays {
        relay.set_open(false);
    }
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    cluster.wait(0, "follow another Lord: it has to become Lord again");
    for relay in &relays {
        relay.set_open(true);
    }
    cluster.is_settled_on(0);
}

/// One peer alone takes the Lord for dead. That is a false alarm, and changes nothing.
fn legion_lord_is_not_heard_by_one_peer(context: &Context) {
    let mut cluster = Cluster::new(context, |_| {});
    let relays = [1, 2].map(|peer| Relay::to(cluster.legion.ports[peer]));
    cluster.start_behind(0, &relays);
    cluster.start(1);
    cluster.start(2);
    cluster.is_settled_on(0);
    let seen = |cluster: &Cluster| (cluster.robot.posts(), cluster.node(0).log().count(LORD));
    let before = seen(&cluster);
    for (relay, peer) in relays.iter().zip([1, 2]) {
        relay.set_open(false);
        cluster.wait(peer, "left Legion failover");
        cluster.wait_for_rounds(peer, 3);
        relay.set_open(true);
        cluster.is_settled_on(0);
    }
    assert_eq!(seen(&cluster), before, "{}", cluster.logs());
}

/// The suspension may be over before the master's next cycle.
fn legion_returns_after_a_short_suspension(context: &Context) {
    let cluster =
        Cluster::new(context, |_| {}).with("legion-death-on-lord-error = 5\ncheck-interval = 12");
    cluster.robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
    let cluster = cluster.started();
    cluster.wait(0, "suspending myself");
    cluster.is_settled_on(0);
}

fn legion_lord_is_shut_down(context: &Context) {
    let mut cluster = settled(context);
    let status = cluster.node_mut(0).stop(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    cluster.is_settled_on(1);
}

fn legion_lord_is_reloaded(context: &Context) {
    let cluster = settled(context);
    cluster.node(0).signal(libc::SIGHUP);
    cluster.wait_nth(0, "spawned uWSGI master process", 2);
    cluster.wait_nth(0, LORD, 2);
    cluster.is_settled_on(0);
}

fn legion_lord_dies_in_the_middle_of_a_takeover(context: &Context) {
    let mut cluster = Cluster::new(context, |settings| {
        settings.switch_time = Duration::from_secs(10);
    })
    .started();
    assert!(cluster.robot.wait_for_requests(Method::Post, 1, PATIENCE));
    cluster.kill(0);
    cluster.wait(1, "a switch is running");
    cluster.is_settled_on(1);
}
