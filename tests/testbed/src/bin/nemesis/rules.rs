//! What must hold: always, and when everything has healed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use testbed::robot::Received;
use testbed::uwsgi::Log;

use crate::absence::LATE;
use crate::cluster::{Cluster, SECRETS, server, wrong_password};
use crate::fault::{Fault, Step, World};
use crate::outage::Outage;
use crate::plan::Setup;
use crate::timeline::before;
use crate::view::{Standing, begins_takeover, claim};

/// After everything has healed, the right Lord has the addresses within this time,
pub const TO_SETTLE: Duration = Duration::from_secs(90);
/// and nothing moves for so long.
pub const QUIET: Duration = Duration::from_secs(60);
/// A success may be logged so long after the webservice said it.
const REPORTED: Duration = Duration::from_secs(3);
/// For so long the threads that write the timeline may be late on a busy machine.
const BUSY: Duration = Duration::from_secs(2);
/// The POSTs that an account may send in an hour; Hetzner allows 50.
const MAX_POSTS: usize = 50;
/// A takeover and a look.
const MAX_REFUSED_LOGINS: usize = 2;

/// Signs of a crash.
const CRASHES: [&str; 4] = [
    "panic",
    "Segmentation Fault",
    "SIGABRT",
    "which is a bug in",
];

/// What did not hold, and when.
pub struct Violation {
    pub at: Instant,
    pub rule: String,
}

/// A success that a node has logged.
struct Claim {
    at: Instant,
    node: usize,
    /// The address.
    ip: IpAddr,
    line: String,
}

/// Watches a cluster.
pub struct Rules {
    outage: Outage,
    /// Since when the right Lord has the addresses, and how many POSTs there were then.
    settled: Option<(Instant, usize)>,
    /// Successes that were logged, by node, and are not judged yet.
    claims: Vec<Claim>,
    pub violations: Vec<Violation>,
}

impl Rules {
    pub fn of(setup: &Setup) -> Rules {
        Rules {
            outage: Outage::of(setup),
            settled: None,
            claims: Vec::new(),
            violations: Vec::new(),
        }
    }

    fn broken(&mut self, at: Instant, rule: String) {
        self.violations.push(Violation { at, rule });
    }

    /// What must hold always. Called several times a second.
    pub fn observe(&mut self, cluster: &mut Cluster, world: &World, begun: &[Step]) {
        for node in 0..cluster.nodes.len() {
            self.observe_node(cluster, node);
        }
        self.judge_claims(cluster);
        for step in begun {
            if matches!(step.fault, Fault::Moved { .. }) {
                self.outage.note_moved();
            }
            if matches!(step.fault, Fault::Reset { .. }) {
                self.outage.note_reset();
            }
        }
        self.observe_outage(cluster, world);
        self.observe_settled(cluster);
    }

    fn observe_node(&mut self, cluster: &mut Cluster, node: usize) {
        if let Some(accident) = cluster.nodes[node].accident() {
            self.broken(Instant::now(), format!("node {node}: {accident}"));
        }
        let lines = match &mut cluster.nodes[node].view {
            Some(view) => view.read(),
            None => return,
        };
        for (at, line) in lines {
            if begins_takeover(&line) {
                cluster.nodes[node].takeovers.push(at);
            }
            let claimed = claim(&line).filter(|(_, to)| *to == server(node).to_string());
            if let Some(ip) = claimed.and_then(|(ip, _)| ip.parse().ok()) {
                self.claims.push(Claim { at, node, ip, line });
            }
        }
    }

    /// No success is logged that the webservice contradicts.
    fn judge_claims(&mut self, cluster: &Cluster) {
        let is_known = |claim: &Claim| claim.at.elapsed() >= BUSY;
        let (known, later): (Vec<Claim>, _) = self.claims.drain(..).partition(is_known);
        self.claims = later;
        for claim in known.iter().filter(|claim| !is_true(cluster, claim)) {
            let Claim { at, node, line, .. } = claim;
            self.broken(
                *at,
                format!("node {node} logs a success that is none: {line}"),
            );
        }
    }

    fn observe_outage(&mut self, cluster: &Cluster, world: &World) {
        let (lords, route) = (cluster.lords(), cluster.route());
        let has_both = matches!(lords[..], [lord] if route == Some(lord));
        let now = Instant::now();
        if let Some(patience) = self.outage.observe(now, world, has_both) {
            let routes = cluster.routes();
            let rule = format!(
                "no Lord with the addresses for {patience:?}, although a majority is well \
                 connected and the webservice works: Lords {lords:?}, routes {routes:?}"
            );
            self.broken(now, rule);
        }
    }

    fn observe_settled(&mut self, cluster: &Cluster) {
        let posts = cluster.robot.posts();
        let is_settled = best(cluster)
            .is_some_and(|best| cluster.lords() == [best] && cluster.route() == Some(best));
        self.settled = match self.settled {
            Some((since, before)) if is_settled && before == posts => Some((since, before)),
            _ if is_settled => Some((Instant::now(), posts)),
            _ => None,
        };
    }

    /// Since when the best that stands is Lord and has the addresses.
    pub fn settled(&self) -> Option<Instant> {
        self.settled.map(|(since, _)| since)
    }

    /// The end of a round that never settled.
    pub fn note_unsettled(&mut self, cluster: &Cluster, how: &str) {
        let standings: Vec<Option<Standing>> = cluster
            .nodes
            .iter()
            .map(|member| member.view.as_ref().map(|view| view.standing))
            .collect();
        let (lords, routes) = (cluster.lords(), cluster.routes());
        let rule = format!("{how}: Lords {lords:?}, routes {routes:?}, standings {standings:?}");
        self.broken(Instant::now(), rule);
    }

    /// No node takes over on old votes.
    fn judge_post(&mut self, cluster: &Cluster, post: &Received) {
        let to = post.form_field("active_server_ip");
        let is_of = |node: &usize| to.as_deref() == Some(&server(*node).to_string());
        let Some(node) = (0..cluster.nodes.len()).find(is_of) else {
            return;
        };
        let member = &cluster.nodes[node];
        let takeovers = member.takeovers.iter().rev();
        // Its first line may be read only after the request has come.
        let begun = takeovers.copied().find(|begun| *begun <= post.at + LATE);
        let forbidden = member.absences.forbid(begun.unwrap_or(post.at), post.at);
        if let Some(reason) = forbidden {
            self.broken(post.at, format!("node {node} takes over, but {reason}"));
        }
    }
    /// What must hold of everything that was logged and requested. Called once, at the end.
    pub fn review(&mut self, cluster: &Cluster) {
        for node in 0..cluster.nodes.len() {
            for log in cluster.logs(node) {
                self.review_log(node, &log);
            }
        }
        self.count_requests(cluster);
    }

    fn review_log(&mut self, node: usize, log: &Log) {
        for (at, line) in log.timed_lines() {
            if SECRETS.iter().any(|secret| line.contains(secret)) {
                self.broken(at, format!("node {node} logs a secret: {line}"));
            }
            if CRASHES.iter().any(|crash| line.contains(crash)) {
                self.broken(at, format!("node {node} logs a crash: {line}"));
            }
        }
    }

    fn count_requests(&mut self, cluster: &Cluster) {
        let now = Instant::now();
        let posts = cluster.robot.posts();
        if posts > MAX_POSTS {
            self.broken(now, format!("{posts} POSTs"));
        }
        let requests = cluster.robot.requests();
        for request in requests.iter().filter(|request| request.method == "POST") {
            self.judge_post(cluster, request);
        }
        for (node, member) in cluster.nodes.iter().enumerate() {
            let is_refused = |login: Option<(String, String)>| {
                login.is_some_and(|(_, password)| password == wrong_password(node))
            };
            let refused = requests
                .iter()
                .filter(|request| request.status == Some(401) && is_refused(request.login()));
            let refused = refused.count();
            if refused > MAX_REFUSED_LOGINS * member.starts {
                let starts = member.starts;
                self.broken(
                    now,
                    format!("node {node} sent {refused} wrong logins in {starts} starts"),
                );
            }
        }
    }
}

/// The node that stands best.
fn best(cluster: &Cluster) -> Option<usize> {
    let standings = cluster
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(node, member)| {
            let standing = member.view.as_ref()?.standing;
            (standing != Standing::Voter).then_some((standing, std::cmp::Reverse(node)))
        });
    standings.max().map(|(_, std::cmp::Reverse(node))| node)
}

/// Whether the address was this node's when it said so, or a moment ago. One that was held up says
/// what it heard before.
fn is_true(cluster: &Cluster, claim: &Claim) -> bool {
    let Claim { at, node, ip, .. } = *claim;
    let absences = &cluster.nodes[node].absences;
    let recently = before(at, REPORTED);
    let held_up = [&absences.frozen, &absences.stalled]
        .into_iter()
        .filter_map(|spans| spans.begin_of(recently, at));
    let from = held_up.map(|since| before(since, REPORTED)).min();
    let from = from.map_or(recently, |from| from.min(recently));
    let timeline = &cluster.timeline;
    timeline.was_routed(ip, server(node), from, at + BUSY)
}
