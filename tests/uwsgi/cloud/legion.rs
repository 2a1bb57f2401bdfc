//! A legion of three that moves a Cloud address: whatever happens to the Lord, one node has it.

use std::time::Duration;

use testbed::cloud::{Refusal, Requests, When};
use testbed::uwsgi::PATIENCE;

use super::{Kind, cloud, move_alias, side_by_side};
use crate::Test;
use crate::cluster::{Cluster, LORD, server_id};
use crate::context::Context;

pub const TESTS: &[Test] = tests![
    cloud_lord_of_a_floating_ip_is_killed,
    cloud_lord_of_an_alias_ip_is_killed,
    cloud_lord_of_a_floating_ip_is_frozen,
    cloud_lord_of_an_alias_ip_is_frozen,
    cloud_lord_is_cut_off_from_its_peers,
    cloud_lord_is_shut_down,
    cloud_lord_dies_half_way,
    cloud_action_of_a_dead_node_ends_late,
    cloud_lord_without_the_api_leaves_it_to_another,
    cloud_old_votes_are_not_acted_on,
    cloud_old_votes_after_an_isolation,
    cloud_a_move_by_hand_is_warned_of,
    cloud_a_move_by_hand_is_retaken,
    cloud_a_look_without_answer_moves_nothing
];

/// A legion whose address is on no server yet.
fn cluster(context: &Context, kind: Kind) -> Cluster<'_> {
    let cloud = cloud();
    match kind {
        Kind::Floating => cloud.set_holder(kind.ip(), None),
        Kind::Alias => move_alias(&cloud, 0),
    }
    Cluster::new(context, |_| {}).with_cloud(kind, cloud)
}

fn settled(context: &Context, kind: Kind) -> Cluster<'_> {
    let cluster = cluster(context, kind).started();
    cluster.is_settled_on(0);
    cluster
}

fn is_killed(context: &Context, kind: Kind) {
    let mut cluster = settled(context, kind);
    cluster.kill(0);
    cluster.is_settled_on(1);
    cluster.start(0);
    cluster.is_settled_on(0);
}

fn cloud_lord_of_a_floating_ip_is_killed(context: &Context) {
    is_killed(context, Kind::Floating);
}

fn cloud_lord_of_an_alias_ip_is_killed(context: &Context) {
    is_killed(context, Kind::Alias);
}

/// For longer than the tolerance. Then it has votes from before in its socket.
fn is_frozen(context: &Context, kind: Kind) {
    let cluster = settled(context, kind);
    cluster.node(0).signal(libc::SIGSTOP);
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    cluster.wait_for_rounds(1, 3);
    cluster.node(0).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
    // It comes back by one election, which follows its pause.
    assert_eq!(cluster.posts_of(0), 2, "{}", cluster.logs());
    assert_eq!(cluster.node(0).log().count(LORD), 2, "{}", cluster.logs());
}

fn cloud_lord_of_a_floating_ip_is_frozen(context: &Context) {
    is_frozen(context, Kind::Floating);
}

fn cloud_lord_of_an_alias_ip_is_frozen(context: &Context) {
    is_frozen(context, Kind::Alias);
}

/// The 2nd of what goes wrong for others: after a partition the loser has the last word, and the old
/// master does not claim the address back.
fn cloud_lord_is_cut_off_from_its_peers(context: &Context) {
    let cluster = cluster(context, Kind::Floating).with_relays().started();
    cluster.is_settled_on(0);
    cluster.set_peers_open(0, false);
    cluster.wait(1, LORD);
    cluster.wait_for_route(1);
    let sign = "i cannot be The Lord of The Legion failover without a quorum";
    cluster.wait(0, sign);
    cluster.wait_for_rounds(1, 5);
    assert_eq!(cluster.posts_of(0), 1, "{}", cluster.logs());
    assert_eq!(cluster.lords(), [1], "{}", cluster.logs());
    cluster.set_peers_open(0, true);
    cluster.is_settled_on(0);
}

fn cloud_lord_is_shut_down(context: &Context) {
    let mut cluster = settled(context, Kind::Floating);
    let status = cluster.node_mut(0).stop(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    cluster.is_settled_on(1);
}

/// The address was taken off its old server, and whoever did that is dead.
fn cloud_lord_dies_half_way(context: &Context) {
    let cloud = cloud();
    move_alias(&cloud, 0);
    cloud.set_aliases(44, super::NETWORK, &["10.0.0.100".parse().unwrap()]);
    cloud.set_action_time(Duration::from_secs(3600));
    let cluster = Cluster::new(context, |_| {}).with_cloud(Kind::Alias, cloud);
    let mut cluster = cluster.started();
    assert!(
        cluster.cloud().wait_for_actions(1, PATIENCE),
        "{}",
        cluster.logs()
    );
    cluster.kill(0);
    cluster.cloud().set_action_time(Duration::ZERO);
    cluster.cloud().end_actions();
    assert_eq!(cluster.cloud().holder(Kind::Alias.ip()), None);
    cluster.is_settled_on(1);
    assert_eq!(cluster.cloud().posts(), 2, "{}", cluster.logs());
}

/// Node 0 is Lord again while the action of node 1 is running, which is dead by then. Reads still show the
/// address at node 0, so there is nothing to change.
fn cloud_action_of_a_dead_node_ends_late(context: &Context) {
    side_by_side(|kind| {
        let mut cluster = settled(context, kind);
        let actions = cluster.cloud().actions().len();
        cluster.cloud().set_action_time(Duration::from_secs(3600));
        cluster.kill(0);
        let has_begun = cluster.cloud().wait_for_actions(actions + 1, PATIENCE);
        assert!(has_begun, "{}", cluster.logs());
        cluster.kill(1);
        cluster.start(0);
        cluster.wait(0, LORD);
        cluster.cloud().set_action_time(Duration::ZERO);
        cluster.cloud().end_actions();
        cluster.wait(0, "another node may have taken it over meanwhile");
        cluster.is_settled_on(0);
    });
}

fn cloud_lord_without_the_api_leaves_it_to_another(context: &Context) {
    let cluster = cluster(context, Kind::Floating).with("legion-death-on-lord-error = 300");
    let mut cluster = cluster.with_relays().started();
    cluster.is_settled_on(0);
    cluster.set_robot_open(1, false);
    cluster.kill(0);
    cluster.wait(1, "(no connection for 1");
    cluster.is_settled_on(2);
    assert_eq!(cluster.posts_of(1), 0, "{}", cluster.logs());
}

/// Node 1 is stopped when it is about to be elected. When it runs again, the votes for it are still
/// in its socket, and node 0 is Lord.
fn cloud_old_votes_are_not_acted_on(context: &Context) {
    let mut cluster = settled(context, Kind::Floating);
    cluster.kill(0);
    cluster.wait_for_rounds(1, 4);
    cluster.node(1).signal(libc::SIGSTOP);
    cluster.wait(2, "left Legion failover");
    cluster.wait_for_rounds(2, 1);
    cluster.start(0);
    cluster.wait(0, LORD);
    cluster.wait_for_rounds(0, 2);
    cluster.node(1).signal(libc::SIGCONT);
    cluster.is_settled_on(0);
    assert_eq!(cluster.posts_of(1), 0, "{}", cluster.logs());
}

/// Node 1 is elected and loses its network, peers and API alike. Meanwhile node 0 comes back.
fn cloud_old_votes_after_an_isolation(context: &Context) {
    let cluster = cluster(context, Kind::Floating).with_relays();
    let mut cluster = cluster.started();
    cluster.is_settled_on(0);
    cluster.set_robot_open(1, false);
    cluster.kill(0);
    cluster.wait(1, "131.232.99.1 -> server 43");
    cluster.set_peers_open(1, false);
    cluster.start(0);
    cluster.wait(0, LORD);
    cluster.wait_for_rounds(0, 3);
    cluster.set_peers_open(1, true);
    cluster.set_robot_open(1, true);
    cluster.is_settled_on(0);
    assert_eq!(cluster.posts_of(1), 0, "{}", cluster.logs());
    cluster.wait(1, "the votes that elected it are out of date");
}

/// A legion whose Lord looks every 10 s, and whose address was moved by hand to node 2.
fn moved_by_hand<'a>(context: &'a Context, kind: Kind, keys: &str) -> Cluster<'a> {
    let cluster = cluster(context, kind).with_keys(keys).started();
    cluster.is_settled_on(0);
    match kind {
        Kind::Floating => cluster.cloud().set_holder(kind.ip(), Some(server_id(2))),
        Kind::Alias => {
            move_alias(cluster.cloud(), 0);
            let ips = ["10.0.0.100".parse().unwrap()];
            cluster
                .cloud()
                .set_aliases(server_id(2), super::NETWORK, &ips);
        }
    }
    cluster
}

fn cloud_a_move_by_hand_is_warned_of(context: &Context) {
    side_by_side(|kind| {
        let holder = match kind {
            Kind::Floating => "server 44",
            Kind::Alias => "server node3 (44)",
        };
        let cluster = moved_by_hand(context, kind, "watch=10");
        let line = cluster.wait(
            0,
            &format!("it is routed to {holder}, not to this server, which is Lord"),
        );
        let start = format!("[{}] {}: WARNING ", kind.action(), kind.ip());
        assert!(line.starts_with(&start), "{line}");
        cluster.wait_for_rounds(0, 5);
        let posts = cluster.cloud().posts();
        assert_eq!(posts, 1, "{}", cluster.logs());
    });
}

fn cloud_a_move_by_hand_is_retaken(context: &Context) {
    side_by_side(|kind| {
        let cluster = moved_by_hand(context, kind, "watch=10,watch_action=retake");
        cluster.wait_for_route(0);
        cluster.is_settled_on(0);
        assert!(cluster.node(0).log().contains("watch_action=retake"));
        for peer in [1, 2] {
            assert_eq!(cluster.posts_of(peer), 0, "{}", cluster.logs());
        }
    });
}

/// The 8th of what goes wrong for others, too: whoever takes an error for "elsewhere" moves it, and
/// then both nodes do.
fn cloud_a_look_without_answer_moves_nothing(context: &Context) {
    side_by_side(|kind| {
        let cluster = cluster(context, kind).with_keys("watch=10,watch_action=retake");
        let cluster = cluster.started();
        cluster.is_settled_on(0);
        let posts = cluster.cloud().posts();
        cluster
            .cloud()
            .order(When::Always(Requests::READS), Refusal::ServerError);
        let warning = "WARNING could not check whether it is still routed to this server: the Cloud \
                       API answered 500 server_error";
        cluster.wait(0, warning);
        let reads = cluster.cloud().count(Requests::READS);
        let looked = cluster
            .cloud()
            .wait_for_requests(Requests::READS, reads + 1, PATIENCE);
        assert!(looked, "{}", cluster.logs());
        cluster.cloud().clear_orders();
        cluster.is_settled_on(0);
        assert_eq!(cluster.cloud().posts(), posts, "{}", cluster.logs());
    });
}
