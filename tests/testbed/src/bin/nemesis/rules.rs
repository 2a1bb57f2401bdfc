//! What must hold, whatever happens.

use std::time::{Duration, Instant};

use testbed::robot::Received;
use testbed::tcp_relay::State;

use crate::absence::LATE;
use crate::cluster::{Cluster, SECRETS, server, wrong_password};
use crate::fault::{Condition, Fault, Step, World};
use crate::plan::Setup;
use crate::timeline::before;
use crate::view::{Standing, begins_takeover, claim};

/// While a majority is well connected and the webservice works, there is a Lord with the address
/// after this time at the latest.
const LONGEST_OUTAGE: Duration = Duration::from_secs(40);
/// After everything has healed, the right Lord has the address within this time,
pub const TO_SETTLE: Duration = Duration::from_secs(90);
/// and nothing moves for so long.
pub const QUIET: Duration = Duration::from_secs(30);
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

/// Watches a cluster.
pub struct Rules {
    quorum: usize,
    timeout: Duration,
    deadline: Duration,
    /// When a request may have been left without an answer, for the last time.
    unanswered: Option<Instant>,
    /// Since when the legion could have a Lord with the address, and has none.
    outage: Option<Instant>,
    /// Since when the same nodes are well connected, or more.
    good: Option<(Instant, Vec<bool>)>,
    /// The address was moved by hand, and nobody has noticed yet.
    is_moved: bool,
    /// Since when the right Lord has the address, and how many POSTs there were then.
    settled: Option<(Instant, usize)>,
    /// Successes that were logged, by node, and are not judged yet.
    claims: Vec<(Instant, usize, String)>,
    pub violations: Vec<Violation>,
}

impl Rules {
    pub fn of(setup: &Setup) -> Rules {
        Rules {
            quorum: setup.nodes / 2 + 1,
            timeout: Duration::from_secs(setup.timeout),
            deadline: Duration::from_secs(setup.deadline),
            unanswered: None,
            outage: None,
            good: None,
            is_moved: false,
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
        let is_move = |step: &Step| matches!(step.fault, Fault::Moved { .. });
        self.is_moved |= begun.iter().any(is_move);
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
            if SECRETS.iter().any(|secret| line.contains(secret)) {
                self.broken(at, format!("node {node} logs a secret: {line}"));
            }
            if CRASHES.iter().any(|crash| line.contains(crash)) {
                self.broken(at, format!("node {node} logs a crash: {line}"));
            }
            if begins_takeover(&line) {
                cluster.nodes[node].takeovers.push(at);
            }
            if claim(&line).is_some_and(|claimed| claimed == server(node).to_string()) {
                self.claims.push((at, node, line));
            }
        }
    }

    /// No success is logged that the webservice contradicts.
    fn judge_claims(&mut self, cluster: &Cluster) {
        let is_known = |claim: &(Instant, usize, String)| claim.0.elapsed() >= BUSY;
        let (known, later) = self.claims.drain(..).partition(is_known);
        self.claims = later;
        let known: Vec<(Instant, usize, String)> = known;
        for (at, node, line) in known {
            if !is_true(cluster, node, at) {
                self.broken(
                    at,
                    format!("node {node} logs a success that is none: {line}"),
                );
            }
        }
    }

    fn observe_outage(&mut self, cluster: &Cluster, world: &World) {
        let now = Instant::now();
        let has_both = has_both(cluster);
        self.is_moved &= !has_both;
        let Some(patience) = self.patience(world).filter(|_| !self.is_moved) else {
            (self.good, self.outage) = (None, None);
            return;
        };
        let able: Vec<bool> = world.nodes.iter().map(Condition::is_able).collect();
        let is_joined_only = self.good.as_ref().is_some_and(|(_, before)| {
            let mut pairs = before.iter().zip(&able);
            pairs.all(|(before, now)| !before || *now)
        });
        if !is_joined_only {
            self.outage = None;
        }
        let since = match self.good.take() {
            Some((since, _)) if is_joined_only => since,
            Some(_) | None => now,
        };
        self.good = Some((since, able));
        if has_both {
            self.outage = None;
            return;
        }
        let outage = *self.outage.get_or_insert(now);
        if now.duration_since(outage) > patience {
            self.outage = None;
            self.good = None;
            let (lords, route) = (cluster.lords(), cluster.route());
            self.broken(
                now,
                format!(
                    "no Lord with the address for {patience:?}, although a majority is well \
                     connected and the webservice works: Lords {lords:?}, route {route:?}"
                ),
            );
        }
    }

    /// How long the legion may be without a Lord with the address. `None`: for any time, as too much
    /// is wrong.
    fn patience(&mut self, world: &World) -> Option<Duration> {
        // One that is heard by some of them, or now and then, may vote for itself.
        let is_clear = |node: &Condition| node.is_silent() || node.is_connected();
        let connected = || world.nodes.iter().filter(|node| node.is_connected());
        let is_good = world.service.is_none()
            && world.nodes.iter().all(is_clear)
            && connected().count() >= self.quorum
            && connected().any(Condition::is_able);
        let has_trouble = world.service.is_some() || world.nodes.iter().any(is_cut_off);
        if has_trouble {
            self.unanswered = Some(Instant::now());
        }
        // Such a request may still be waited for.
        let is_waiting = self
            .unanswered
            .is_some_and(|since| since.elapsed() < LONGEST_OUTAGE + self.timeout);
        is_good.then(|| match connected().any(is_cut_off) {
            // A node that has sent a POST, and is then cut off, waits until the deadline.
            true => LONGEST_OUTAGE + self.deadline,
            false if is_waiting => LONGEST_OUTAGE + self.timeout,
            false => LONGEST_OUTAGE,
        })
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

    /// Since when the best that stands is Lord and has the address.
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
        let (lords, route) = (cluster.lords(), cluster.route());
        let rule = format!("{how}: Lords {lords:?}, route {route:?}, standings {standings:?}");
        self.broken(Instant::now(), rule);
    }

    /// What must hold of all requests together.
    pub fn count_requests(&mut self, cluster: &Cluster) {
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

impl Rules {
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
}

/// Whether its connections to the webservice are cut or kept waiting.
fn is_cut_off(node: &Condition) -> bool {
    node.way != State::Open
}

/// Whether exactly one node is Lord, and the address leads to it.
fn has_both(cluster: &Cluster) -> bool {
    match cluster.lords()[..] {
        [lord] => cluster.route() == Some(lord),
        _ => false,
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
fn is_true(cluster: &Cluster, node: usize, at: Instant) -> bool {
    let absences = &cluster.nodes[node].absences;
    let recently = before(at, REPORTED);
    let held_up = [&absences.frozen, &absences.stalled]
        .into_iter()
        .filter_map(|spans| spans.last_since(recently));
    let from = held_up.map(|since| before(since, REPORTED)).min();
    let from = from.map_or(recently, |from| from.min(recently));
    cluster.timeline.was_routed(server(node), from, at + BUSY)
}
