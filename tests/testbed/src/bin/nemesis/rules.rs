//! What must hold while a round runs: always, and when everything has healed. What can be judged at its
//! end is in `review`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::fault::{Fault, Step};
use crate::outage::Outage;
use crate::setup::Setup;
use crate::timeline::before;
use crate::trouble::Trouble;
use crate::view::{Standing, begins_takeover, claim};
use crate::world::World;

/// After everything has healed, the right Lord has the addresses within this time,
pub const TO_SETTLE: Duration = Duration::from_secs(90);
/// and nothing moves for so long.
pub const QUIET: Duration = Duration::from_secs(60);
/// A success may be logged so long after the webservice said it.
const REPORTED: Duration = Duration::from_secs(3);
/// For so long the threads that write the timeline may be late on a busy machine.
const BUSY: Duration = Duration::from_secs(2);
/// What an action takes at most, if it is not slowed down.
const LONGEST_ACTION: Duration = Duration::from_secs(3);

/// What did not hold, and when.
pub struct Violation {
    pub at: Instant,
    pub rule: String,
}

/// A success that a node has logged.
struct Claim {
    /// When it was so.
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
    stale: Stale,
    pub violations: Vec<Violation>,
}

impl Rules {
    pub fn of(setup: &Setup) -> Rules {
        Rules {
            outage: Outage::of(setup),
            settled: None,
            claims: Vec::new(),
            stale: Stale::default(),
            violations: Vec::new(),
        }
    }

    pub fn broken(&mut self, at: Instant, rule: String) {
        self.violations.push(Violation { at, rule });
    }

    /// What must hold always. Called several times a second.
    pub fn observe(&mut self, cluster: &mut Cluster, world: &World, begun: &[Step]) {
        for node in 0..cluster.nodes.len() {
            self.observe_node(cluster, node);
        }
        self.stale.observe(world);
        self.judge_claims(cluster);
        for loss in cluster.service.losses() {
            self.broken(
                Instant::now(),
                format!("an alias IP is not as its owner left it: {loss}"),
            );
        }
        if cluster.was_moved {
            self.outage.note_moved();
        }
        for step in begun {
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
            let Some(claimed) = claim(&line) else {
                continue;
            };
            let ip = claimed.ip.parse().ok();
            let is_ours = |ip: &IpAddr| claimed.server == cluster.service.title(node, *ip);
            if let Some(ip) = ip.filter(is_ours) {
                let begun = cluster.nodes[node].takeovers.last().copied();
                let at = begun.map_or(at, |begun| at.min(begun + claimed.after));
                self.claims.push(Claim { at, node, ip, line });
            }
        }
    }

    /// No success is logged that the webservice contradicts.
    fn judge_claims(&mut self, cluster: &Cluster) {
        let is_known = |claim: &Claim| claim.at.elapsed() >= BUSY;
        let (known, later): (Vec<Claim>, _) = self.claims.drain(..).partition(is_known);
        self.claims = later;
        for claim in &known {
            if self.is_true(cluster, claim) {
                continue;
            }
            let Claim { at, node, line, .. } = claim;
            self.broken(
                *at,
                format!("node {node} logs a success that is none: {line}"),
            );
        }
    }

    fn observe_outage(&mut self, cluster: &Cluster, world: &World) {
        let (lords, holder) = (cluster.lords(), cluster.holder());
        let has_both = matches!(lords[..], [lord] if holder == Some(lord));
        let now = Instant::now();
        if let Some(patience) = self.outage.observe(now, world, has_both) {
            let holders = cluster.holders();
            let rule = format!(
                "no Lord with the addresses for {patience:?}, although a majority is well \
                 connected and the webservice works: Lords {lords:?}, addresses at {holders:?}"
            );
            self.broken(now, rule);
        }
    }

    fn observe_settled(&mut self, cluster: &Cluster) {
        let posts = cluster.service.posts();
        let is_settled = best(cluster)
            .is_some_and(|best| cluster.lords() == [best] && cluster.holder() == Some(best));
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
        let (lords, holders) = (cluster.lords(), cluster.holders());
        let rule =
            format!("{how}: Lords {lords:?}, addresses at {holders:?}, standings {standings:?}");
        self.broken(Instant::now(), rule);
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

impl Rules {
    /// Whether the address was this node's when it said so, or a moment ago. One that was held up says
    /// what it heard before.
    fn is_true(&self, cluster: &Cluster, claim: &Claim) -> bool {
        let Claim { at, node, ip, .. } = *claim;
        let absences = &cluster.nodes[node].absences;
        let recently = before(at, REPORTED);
        let held_up = [&absences.frozen, &absences.stalled]
            .into_iter()
            .filter_map(|spans| spans.begin_of(recently, at));
        let from = held_up.map(|since| before(since, REPORTED)).min();
        let from = from.map_or(recently, |from| from.min(recently));
        let from = before(from, self.stale.lag(at));
        cluster.timeline.was_at(ip, node, from, at + BUSY)
    }
}

/// By how much reads may be late: what they show then is what the service says.
#[derive(Default)]
struct Stale {
    lag: Duration,
    /// When an action may have begun whose effect is shown late, for the last time.
    last: Option<Instant>,
}

impl Stale {
    fn observe(&mut self, world: &World) {
        if let Some(Trouble::Stale(lag)) = world.service {
            self.lag = self.lag.max(lag);
            self.last = Some(Instant::now());
        }
    }

    fn lag(&self, at: Instant) -> Duration {
        let until = |last: Instant| last + LONGEST_ACTION + self.lag + REPORTED;
        match self.last {
            Some(last) if at <= until(last) => self.lag,
            Some(_) | None => Duration::ZERO,
        }
    }
}
