//! One legion of nodes with this plugin and nodes with an older version of it, which is the file that
//! `HETZNER_OLDER_PLUGIN` names (`make older-nodes`).

use std::path::PathBuf;

use testbed::robot::{Fault, Method, When};

use crate::Test;
use crate::cluster::{Cluster, LORD};
use crate::context::Context;

pub const TESTS: &[Test] = tests![
    older_nodes_follow_a_node_that_steps_back,
    older_node_fails_and_others_take_over,
    older_nodes_survive_deaths_and_returns,
];

/// The older plugin, if there is one to test with.
pub fn plugin() -> Option<PathBuf> {
    std::env::var_os("HETZNER_OLDER_PLUGIN").map(PathBuf::from)
}

/// A legion whose node at `older` has the older plugin.
fn mixed<'a>(context: &'a Context, older: &[usize]) -> Cluster<'a> {
    let plugin = plugin().expect("the test runs only with an older plugin");
    let cluster = Cluster::new(context, |_| {}).with("legion-death-on-lord-error = 300");
    cluster.with_older_plugin(older, &plugin)
}

fn refuse_once(cluster: &Cluster) {
    cluster.robot.order(
        When::Once(Method::Post),
        Fault::error(404, "NOT_FOUND", "on purpose"),
    );
}

/// Its peers see a valor that changes, and nothing else.
fn older_nodes_follow_a_node_that_steps_back(context: &Context) {
    let cluster = mixed(context, &[1, 2]);
    refuse_once(&cluster);
    let cluster = cluster.started();
    cluster.is_settled_on(1);
}

/// It falls silent, and the others do not need its vote.
fn older_node_fails_and_others_take_over(context: &Context) {
    let cluster = mixed(context, &[0]);
    refuse_once(&cluster);
    let cluster = cluster.started();
    cluster.is_settled_on(1);
}

fn older_nodes_survive_deaths_and_returns(context: &Context) {
    let mut cluster = mixed(context, &[1]).started();
    cluster.is_settled_on(0);
    cluster.kill(0);
    cluster.is_settled_on(1);
    cluster.node(1).signal(libc::SIGSTOP);
    cluster.start(0);
    cluster.wait(0, LORD);
    cluster.wait_for_route(0);
    cluster.node(1).signal(libc::SIGCONT);
    // The older node acts on old votes, and the Lord finds out when it looks, twice within seconds.
    cluster.wait_for_rounds(0, 20);
    cluster.is_settled_on(0);
}
