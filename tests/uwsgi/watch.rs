//! The route stays the Lord's: what a Lord looks at, and what no node does on old votes.

use std::time::Duration;

use testbed::robot::{Fault, Method, When};
use testbed::uwsgi::PATIENCE;

use crate::Test;
use crate::cluster::{Cluster, LORD};
use crate::context::{Context, action, ip, lone_node, robot, wait};

pub const TESTS: &[Test] = tests![
    watch_a_route_moved_by_hand_is_warned_of,
    watch_a_route_moved_by_hand_is_retaken,
    watch_0_never_looks,
    watch_stops_after_a_refused_login,
    watch_of_an_endpoint_without_get_is_one_look,
    watch_one_bad_answer_proves_nothing,
    watch_after_a_peer_followed_another,
    old_votes_are_not_acted_on,
    a_lord_elected_after_old_votes_stays_lord,
    old_votes_after_an_isolation_of_12_s,
    old_votes_after_an_isolation_of_2_s,
    a_paused_lord_takes_its_route_back,
    old_votes_are_not_acted_on_by_a_second_hook
];

/// The shortest `watch` is 60 s; a look that finds the IP elsewhere looks again after 5 s.
const LOOKED: Duration = Duration::from_secs(120);

const MOVED: &str = "it is routed to 3.3.3.3, not to this server, which is Lord";

fn settled<'a>(context: &'a Context, keys: &str) -> Cluster<'a> {
    let cluster = Cluster::new(context, |_| {}).with_keys(keys).started();
    cluster.is_settled_on(0);
    cluster
}

fn watch_a_route_moved_by_hand_is_warned_of(context: &Context) {
    let cluster = settled(context, "watch=60");
    let posts = cluster.robot.posts();
    cluster.robot.set_route(ip("4.4.4.4"), Some(ip("3.3.3.3")));
    let line = cluster.node(0).log().wait_for(MOVED, LOOKED);
    let line = line.unwrap_or_else(|| panic!("{}", cluster.logs()));
    assert!(line.contains("] 4.4.4.4: WARNING "), "{line}");
    cluster.wait_for_rounds(0, 5);
    assert_eq!(cluster.robot.posts(), posts, "{}", cluster.logs());
    assert_eq!(cluster.robot.route(ip("4.4.4.4")), Some(ip("3.3.3.3")));
    // Two answers in a row, and nothing more.
    assert_eq!(cluster.count(Method::Get), 2, "{}", cluster.logs());
}

fn watch_a_route_moved_by_hand_is_retaken(context: &Context) {
    let cluster = settled(context, "watch=60,watch_action=retake");
    cluster.robot.set_route(ip("4.4.4.4"), Some(ip("3.3.3.3")));
    cluster.wait_for_route_within(0, LOOKED);
    cluster.is_settled_on(0);
    assert!(cluster.node(0).log().contains("watch_action=retake"));
    for peer in [1, 2] {
        assert_eq!(cluster.posts_of(peer), 0, "{}", cluster.logs());
    }
}

fn watch_0_never_looks(context: &Context) {
    let robot = robot();
    let node = context.start(&lone_node(&action(&robot, "watch=0")));
    wait(&node, LORD, PATIENCE);
    let other = context.start(&lone_node(&action(&robot, "watch=60")));
    // When the other one has looked, this one would have.
    assert!(robot.wait_for_requests(Method::Get, 1, LOOKED));
    drop(other);
    assert_eq!(robot.count(Method::Get), 1);
}

fn watch_stops_after_a_refused_login(context: &Context) {
    let robot = robot();
    let node = context.start(&lone_node(&action(&robot, "watch=60")));
    wait(&node, LORD, PATIENCE);
    robot.set_password("another");
    let line = wait(&node, "could not check the route; will not retry", LOOKED);
    assert!(line.contains("ERROR") && line.contains("401"), "{line}");
    let looks = robot.count(Method::Get);
    assert_eq!(looks, 1);
    // The next one would come within a minute.
    assert!(!robot.wait_for_requests(Method::Get, looks + 1, Duration::from_secs(70)));
    assert_eq!(node.log().count("could not check the route"), 1);
}

fn watch_of_an_endpoint_without_get_is_one_look(context: &Context) {
    let robot = robot();
    robot.order(When::Always(Method::Get), Fault::page(405));
    let node = context.start(&lone_node(&action(&robot, "watch=60")));
    wait(&node, LORD, PATIENCE);
    wait(&node, "the endpoint does not support GET", LOOKED);
    assert!(!robot.wait_for_requests(Method::Get, 2, Duration::from_secs(70)));
}

fn watch_one_bad_answer_proves_nothing(context: &Context) {
    let robot = robot();
    robot.order(
        When::Once(Method::Get),
        Fault::Answer {
            status: 200,
            headers: Vec::new(),
            body: br#"{"failover":{"ip":"4.4.4.4","active_server_ip":"3.3.3.3"}}"#.to_vec(),
        },
    );
    let node = context.start(&lone_node(&action(&robot, "watch=60,watch_action=retake")));
    wait(&node, LORD, PATIENCE);
    assert!(robot.wait_for_requests(Method::Get, 2, LOOKED));
    assert!(!robot.wait_for_requests(Method::Post, 2, Duration::from_secs(5)));
    assert!(!node.log().contains("4.4.4.4: "), "{}", node.log().text());
}

/// A peer that was isolated for a short while followed another Lord. The route may have moved,
/// and here it has.
fn watch_after_a_peer_followed_another(context: &Context) {
    let mut cluster = Cluster::new(context, |_| {}).with_relays();
    for node in [0, 1] {
        cluster.start(node);
    }
    cluster.is_settled_on(0);
    let posts = cluster.robot.posts();
    cluster.robot.set_route(ip("4.4.4.4"), Some(ip("3.3.3.3")));
    // A node that starts proposes itself at first.
    cluster.set_peers_open(2, false);
    cluster.start(2);
    cluster.wait_for_rounds(2, 3);
    cluster.set_peers_open(2, true);
    cluster.wait(0, "another node may have taken it over meanwhile");
    cluster.is_settled_on(0);
    assert_eq!(cluster.robot.posts(), posts + 1, "{}", cluster.logs());
}

/// Node 1 is stopped when it is about to be elected. When it runs again, the votes for it are still
/// in its socket, and node 0 is Lord.
fn old_votes_are_not_acted_on(context: &Context) {
    let mut cluster = Cluster::new(context, |_| {}).started();
    cluster.is_settled_on(0);
    cluster.kill(0);
    // Three announcements later than the death its peers still wait for node 0.
    cluster.wait_for_rounds(1, 4);
    cluster.node(1).signal(libc::SIGSTOP);
    // Node 2 votes for node 1 as soon as it gives node 0 up.
    cluster.wait(2, "left Legion failover");
    cluster.wait_for_rounds(2, 1);
    cluster.start(0);
    cluster.wait(0, LORD);
    cluster.wait_for_route(0);
    cluster.wait_for_rounds(0, 2);
    cluster.node(1).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
    assert_eq!(cluster.posts_of(1), 0, "{}", cluster.logs());
}

/// Node 1 was paused when it was elected, so the legion votes again. The second election, seconds
/// after the first, counts: no hook is called twice, and the lordship is not forgotten.
fn a_lord_elected_after_old_votes_stays_lord(context: &Context) {
    let mut cluster = Cluster::new(context, |_| {}).started();
    cluster.is_settled_on(0);
    cluster.kill(0);
    cluster.wait_for_rounds(1, 4);
    cluster.node(1).signal(libc::SIGSTOP);
    cluster.wait(2, "left Legion failover");
    // Longer than a pause that is no standstill.
    cluster.wait_for_rounds(2, 4);
    cluster.node(1).signal(libc::SIGCONT);
    cluster.wait(1, "the votes that elected it are out of date");
    cluster.wait(1, LORD);
    cluster.is_settled_on(1);
    assert_eq!(cluster.node(1).log().count(LORD), 1, "{}", cluster.logs());
}

/// Node 1 is elected and loses its network, peers and API alike. Meanwhile node 0 comes back.
fn lost_network(context: &Context, is_long: bool) {
    let mut cluster = Cluster::new(context, |_| {}).with_relays().started();
    cluster.is_settled_on(0);
    cluster.set_robot_open(1, false);
    cluster.kill(0);
    cluster.wait(1, "4.4.4.4 -> 2.2.2.2");
    cluster.set_peers_open(1, false);
    match is_long {
        true => {
            cluster.start(0);
            cluster.wait(0, LORD);
            cluster.wait_for_route(0);
            cluster.wait_for_rounds(0, 3);
        }
        false => {
            cluster.start(0);
            cluster.wait_for_rounds(1, 2);
        }
    }
    cluster.set_peers_open(1, true);
    cluster.set_robot_open(1, true);
    cluster.is_settled_on(0);
    if is_long {
        assert_eq!(cluster.posts_of(1), 0, "{}", cluster.logs());
        cluster.wait(1, "the votes that elected it are out of date");
    }
}

fn old_votes_after_an_isolation_of_12_s(context: &Context) {
    lost_network(context, true);
}

fn old_votes_after_an_isolation_of_2_s(context: &Context) {
    lost_network(context, false);
}

fn a_paused_lord_takes_its_route_back(context: &Context) {
    let cluster = Cluster::new(context, |_| {}).started();
    cluster.is_settled_on(0);
    cluster.node(0).signal(libc::SIGSTOP);
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    cluster.wait_for_rounds(1, 3);
    cluster.node(0).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
    // The votes from before its pause are not acted on.
    assert_eq!(cluster.posts_of(0), 2, "{}", cluster.logs());
    // Nor is the lordship that follows taken for one that uWSGI wrongly gave it.
    let lordships = cluster.node(0).log().count(LORD);
    assert_eq!(lordships, 2, "{}", cluster.logs());
}

/// Without `legion-death-on-lord-error` uWSGI calls the second hook although the first one failed.
fn old_votes_are_not_acted_on_by_a_second_hook(context: &Context) {
    let cluster = Cluster::new(context, |settings| {
        settings.failovers.push((ip("5.5.5.5"), None));
    });
    let cluster = cluster.with("");
    let hooks = cluster.config(0).ini();
    let hook = hooks.lines().find(|line| line.starts_with("legion-lord"));
    let hook = hook.expect("a hook").replace("4.4.4.4", "5.5.5.5");
    let cluster = cluster.with_lines_of(0, &hook).started();
    cluster.is_settled_on(0);
    cluster.node(0).signal(libc::SIGSTOP);
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    cluster.node(0).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
    let lines = cluster.node(0).log().lines();
    let signs = lines.iter().filter_map(|line| match line {
        line if line.ends_with(".4 -> 1.1.1.1") || line.ends_with(".5 -> 1.1.1.1") => {
            Some("takes over")
        }
        line if line.ends_with("voting again") => Some("votes again"),
        _ => None,
    });
    let expected = [["takes over"; 2], ["votes again"; 2], ["takes over"; 2]];
    let signs: Vec<&str> = signs.collect();
    assert_eq!(signs, expected.concat(), "{}", cluster.logs());
}
