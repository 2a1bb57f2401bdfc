//! What must hold of everything that was logged and requested in a round.

use std::time::{Duration, Instant};

use testbed::uwsgi::Log;

use crate::absence::LATE;
use crate::cluster::Cluster;
use crate::rules::Rules;
use crate::service::{Kind, Request};

/// The POSTs that a Robot's account may send in an hour; Hetzner allows 50.
const MAX_ROBOT_POSTS: usize = 50;
/// The Cloud allows 3600 requests, which are shared with everything else that uses the project.
const MAX_CLOUD_POSTS: usize = 100;
/// The POSTs that one takeover of a Cloud address may send.
const MAX_POSTS_OF_TAKEOVER: usize = 20;
/// A takeover and a look.
const MAX_REFUSED_LOGINS: usize = 2;
/// The requests that a node sends for an address in `WINDOW` at most, so that nothing runs in a busy loop.
const MAX_REQUESTS: usize = 40;
const WINDOW: Duration = Duration::from_secs(10);

/// Signs of a crash.
const CRASHES: [&str; 4] = [
    "panic",
    "Segmentation Fault",
    "SIGABRT",
    "which is a bug in",
];

/// Judges a round that has ended.
pub fn review(rules: &mut Rules, cluster: &Cluster) {
    for node in 0..cluster.nodes.len() {
        for log in cluster.logs(node) {
            review_log(rules, cluster, node, &log);
        }
    }
    let requests = cluster.service.requests();
    for post in requests.iter().filter(|request| request.is_post) {
        judge_post(rules, cluster, post);
    }
    count_posts(rules, cluster);
    for node in 0..cluster.nodes.len() {
        let is_of_node = |request: &&Request| request.node == Some(node);
        let requests: Vec<&Request> = requests.iter().filter(is_of_node).collect();
        count_refused(rules, cluster, node, &requests);
        count_posts_of_takeovers(rules, cluster, node, &requests);
        count_requests(rules, cluster, node, &requests);
    }
}

fn review_log(rules: &mut Rules, cluster: &Cluster, node: usize, log: &Log) {
    let secrets = cluster.secrets();
    for (at, line) in log.timed_lines() {
        if secrets.iter().any(|secret| line.contains(secret)) {
            rules.broken(at, format!("node {node} logs a secret: {line}"));
        }
        if CRASHES.iter().any(|crash| line.contains(crash)) {
            rules.broken(at, format!("node {node} logs a crash: {line}"));
        }
    }
}

/// No node takes over on old votes, unless nobody has the address because of its takeover.
fn judge_post(rules: &mut Rules, cluster: &Cluster, post: &Request) {
    let Some(node) = post.node else {
        return;
    };
    let Some(member) = cluster.nodes.get(node) else {
        return;
    };
    let takeovers = member.takeovers.iter().rev();
    // Its first line may be read only after the request has come.
    let begun = takeovers.copied().find(|begun| *begun <= post.at + LATE);
    let begun = begun.unwrap_or(post.at);
    if post
        .released
        .is_some_and(|released| released + LATE >= begun)
    {
        return;
    }
    let forbidden = member.absences.forbid(begun, post.at);
    if let Some(reason) = forbidden {
        rules.broken(post.at, format!("node {node} takes over, but {reason}"));
    }
}

fn count_posts(rules: &mut Rules, cluster: &Cluster) {
    let posts = cluster.service.posts();
    let max = match cluster.setup.service {
        Kind::Robot => MAX_ROBOT_POSTS,
        Kind::Floating | Kind::Alias => MAX_CLOUD_POSTS,
    };
    if posts > max {
        rules.broken(Instant::now(), format!("{posts} POSTs"));
    }
}

fn count_refused(rules: &mut Rules, cluster: &Cluster, node: usize, requests: &[&Request]) {
    let starts = cluster.nodes[node].starts;
    // Nobody is locked out of the Cloud, so each address of an action tries for itself.
    let each = match cluster.setup.service {
        Kind::Robot => 1,
        Kind::Floating | Kind::Alias => cluster.addresses().len(),
    };
    let refused = requests.iter().filter(|request| request.is_refused);
    let refused = refused.count();
    if refused > MAX_REFUSED_LOGINS * each * starts {
        let rule = format!("node {node} sent {refused} wrong logins in {starts} starts");
        rules.broken(Instant::now(), rule);
    }
}

fn count_posts_of_takeovers(
    rules: &mut Rules,
    cluster: &Cluster,
    node: usize,
    requests: &[&Request],
) {
    let begins = &cluster.nodes[node].takeovers;
    for (number, begin) in begins.iter().enumerate() {
        let is_of_it = |request: &&&Request| {
            let is_later = request.at >= *begin;
            request.is_post
                && is_later
                && begins.get(number + 1).is_none_or(|end| request.at < *end)
        };
        let posts = requests.iter().filter(is_of_it).count();
        // The addresses of one action are moved at the same time.
        if posts > MAX_POSTS_OF_TAKEOVER * cluster.addresses().len() {
            rules.broken(
                *begin,
                format!("node {node} sends {posts} POSTs in a takeover"),
            );
        }
    }
}

fn count_requests(rules: &mut Rules, cluster: &Cluster, node: usize, requests: &[&Request]) {
    let max = MAX_REQUESTS * cluster.addresses().len();
    let mut first = 0;
    for (last, request) in requests.iter().enumerate() {
        while request.at.duration_since(requests[first].at) > WINDOW {
            first += 1;
        }
        let number = last + 1 - first;
        if number > max {
            let rule = format!("node {node} sends {number} requests in {WINDOW:?}");
            rules.broken(request.at, rule);
            return;
        }
    }
}
