//! A model of three nodes and the faults between them, every end of which is checked.
//!
//! The plugin's own functions decide: those of [`Candidacy`], [`Lordship`], [`Votes`], [`Mandate`] and
//! [`Watch`]. What uWSGI does is written down as core/legion.c has it. In each tick, every node that runs
//! announces itself, runs the master's cycle, and reads what has arrived. A switch takes no time, but its
//! POST may arrive late, even after its sender's death. Only a node that steps back announces its death.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::c_char;
use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::heartbeat::Mandate;
use super::lordship::{Lordship, Votes};
use super::standing::{Candidacy, FailedHook, Observed, Rules, Standing};
use super::watch::{Finding, Verdict, Watch};
use crate::order::WatchAction;
use crate::provider::robot::LATE_CHANGES;
use crate::takeover::Problem;
use crate::uwsgi::Peer;

/// `legion-freq`, and `legion-tolerance`: a peer that was silent for two ticks is dropped.
const TICK: Duration = Duration::from_secs(8);
const TOLERANCE: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(24);
const QUORUM: usize = 2;
/// So many faults begin or end, within so many ticks. Then everything heals.
const CHANGES: u8 = 3;
const TICKS: u8 = 8;
/// So many ticks after everything has healed, POSTs arrive that were still under way.
const LATE: u8 = 3;
/// It must all rest, for so many, within so many: an address is taken back once in 10 minutes.
const REST: u8 = 4;
const TO_SETTLE: u8 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Fault {
    Down,
    Frozen,
    /// No packets pass between the node and its peers.
    Cut,
    /// What it sends to the webservice waits.
    Stalled,
}

use Fault::{Cut, Down, Frozen, Stalled};

/// A node as its peers know it: its valor, and the number of its start among those of all nodes. The
/// highest is elected.
type Id = (u64, u8);
/// What it announces: the start that it follows, or 0, and the checksum of those that it knows.
type Vote = (u8, u128);
/// When it began, when a peer was last heard, and whether a POST was sent.
type Takeover = (Duration, Duration, bool);

#[derive(Debug, Clone, PartialEq, Hash)]
struct Node {
    start: u8,
    standstill: Option<Duration>,
    /// `None` is a death.
    inbox: VecDeque<(Id, Option<Vote>)>,
    peers: BTreeMap<Id, (Duration, Vote)>,
    vote: Vote,
    is_lord: bool,
    takeover: Option<Takeover>,
    lordship: Lordship,
    candidacy: Candidacy,
    watch: Watch,
}

impl Node {
    fn start(number: usize, start: u8) -> Node {
        let rules = Rules {
            configured: 9999 - number as u64,
            suspension: Duration::from_secs(30),
            no_preempt: false,
            tolerance: TOLERANCE,
        };
        Node {
            start,
            standstill: None,
            inbox: VecDeque::new(),
            peers: BTreeMap::new(),
            vote: (0, 0),
            is_lord: false,
            takeover: None,
            lordship: Lordship::default(),
            candidacy: Candidacy::new(rules),
            watch: Watch::new(Duration::from_secs(60), WatchAction::Retake, LATE_CHANGES),
        }
    }

    fn id(&self) -> Id {
        (self.candidacy.valor(), self.start)
    }

    /// `Member::vote_again`
    fn vote_again(&mut self, now: Duration, began: Duration) {
        self.lordship.note_takeover(began);
        self.lordship.note_revote(now);
        self.inbox.clear();
        self.peers.values_mut().for_each(|(_, vote)| vote.0 = 0);
    }
}

#[derive(Debug, Default, Clone, PartialEq, Hash)]
struct World {
    /// How many changes and ticks are left.
    left: (u8, u8),
    looks: bool,
    now: Duration,
    nodes: [Option<Node>; 3],
    starts: u8,
    faults: BTreeSet<(Fault, usize)>,
    /// The nodes whose POSTs are under way.
    posts: BTreeSet<usize>,
    route: usize,
}

impl World {
    fn node(&mut self, node: usize) -> &mut Node {
        self.nodes[node].as_mut().expect("it runs")
    }

    fn has(&self, fault: Fault, node: usize) -> bool {
        self.faults.contains(&(fault, node))
    }

    fn change(&mut self, fault: Fault, node: usize) {
        let ends = self.faults.remove(&(fault, node));
        let runs = self.nodes[node].is_some();
        match (fault, ends) {
            (Down, false) => self.nodes[node] = None,
            (Down, true) => {
                self.starts += 1;
                self.nodes[node] = Some(Node::start(node, self.starts));
            }
            (Frozen, true) if runs => self.node(node).standstill = Some(self.now + TICK),
            (Stalled, true) if self.posts.remove(&node) => self.route = node,
            (Frozen | Cut | Stalled, _) => {}
        }
        self.faults.extend((!ends).then_some((fault, node)));
    }

    fn heal(&mut self, except: &[Fault]) {
        let faults = self.faults.clone().into_iter();
        let ends = faults.filter(|(fault, _)| !except.contains(fault));
        ends.for_each(|(fault, node)| self.change(fault, node));
    }

    /// The Lord in the end, if everything heals but this.
    fn end(&mut self, except: &[Fault]) -> Option<usize> {
        self.heal(&[except, &[Stalled]].concat());
        let mut rest = 0;
        for tick in 0..TO_SETTLE {
            if tick == LATE {
                self.heal(except);
            }
            self.tick();
            rest = if self.is_at_rest() { rest + 1 } else { 0 };
            if rest >= REST && tick >= LATE {
                break;
            }
        }
        self.lord()
    }

    /// If everything heals, and if everything does but a server that is down.
    fn ends_well(&self) -> bool {
        let ends_well = |except: &[Fault]| {
            let mut world = self.clone();
            world.end(except) == Some(world.route)
        };
        let is_alone = self.nodes.iter().flatten().count() < QUORUM;
        ends_well(&[]) && (is_alone || ends_well(&[Down]))
    }

    /// The Lord on whom all agree.
    fn lord(&self) -> Option<usize> {
        let is_lord = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.is_lord);
        let lord = self.nodes.iter().position(is_lord)?;
        let start = self.nodes[lord].as_ref()?.start;
        let agrees = |it: &Node| it.vote.0 == start && it.is_lord == (it.start == start);
        self.nodes.iter().flatten().all(agrees).then_some(lord)
    }

    fn is_at_rest(&self) -> bool {
        let is_fit = |node: &Node| node.candidacy.standing() == Standing::Fit;
        let is_quiet = |node: &Node| node.takeover.is_none() && is_fit(node);
        self.lord() == Some(self.route) && self.nodes.iter().flatten().all(is_quiet)
    }

    fn tick(&mut self) {
        self.now += TICK;
        for node in 0..3 {
            if !self.has(Frozen, node) && !self.has(Down, node) {
                self.announce(node, false);
                self.cycle(node);
                self.listen(node);
                self.cycle(node);
            }
        }
    }

    fn announce(&mut self, node: usize, is_death: bool) {
        let it = self.node(node);
        let (id, vote) = (it.id(), (!is_death).then_some(it.vote));
        for to in (0..3).filter(|to| *to != node) {
            let is_cut = self.has(Cut, node) || self.has(Cut, to);
            if let Some(peer) = self.nodes[to].as_mut().filter(|_| !is_cut) {
                peer.inbox.push_back((id, vote));
            }
        }
    }

    /// `legion_loop`
    fn listen(&mut self, node: usize) {
        let (now, it) = (self.now, self.node(node));
        if let Some(takeover) = it.takeover.take() {
            return self.take_over(node, takeover);
        }
        it.peers.retain(|_, (seen, _)| now - *seen <= TOLERANCE);
        for _ in 0..it.inbox.len().max(1) {
            let it = self.node(node);
            if let Some((id, vote)) = it.inbox.pop_front() {
                it.peers.remove(&id);
                it.peers.extend(vote.map(|vote| (id, (now, vote))));
            }
            self.elect(node);
        }
    }

    /// `legions_check_nodes_step2`, and the lord hook.
    fn elect(&mut self, node: usize) {
        let (now, it) = (self.now, self.node(node));
        let ours = it.id();
        let ids = || it.peers.keys().chain([&ours]);
        let best = *ids().max().expect("ours");
        let checksum = ids().map(|(valor, start)| (u128::from(*valor) + 1) << (16 * start));
        // Where nobody stands, a node follows itself.
        it.vote = (if best.0 > 0 { best.1 } else { ours.1 }, checksum.sum());
        let agree = it.peers.values().all(|(_, vote)| *vote == it.vote);
        let is_elected = best == ours && ours.0 > 0 && it.peers.len() + 1 >= QUORUM;
        let is_old = (it.lordship).has_old_votes(now, it.standstill, TOLERANCE + TICK, agree);
        match (is_elected, is_old) {
            _ if !agree || it.takeover.is_some() || is_elected && it.is_lord => {}
            (false, _) => it.is_lord = false,
            (true, true) => it.vote_again(now, now),
            (true, false) => self.take_over(node, (now, now, false)),
        }
    }

    /// What a takeover does in a tick.
    fn take_over(&mut self, node: usize, (began, mut heard, is_sent): Takeover) {
        let now = self.now;
        let (stalls, is_routed) = (self.has(Stalled, node), self.route == node);
        let it = self.node(node);
        let mandate = Mandate::new(began, TOLERANCE, true);
        mandate.note_beat(heard, 1);
        let is_valid = mandate.is_valid(now, it.standstill);
        if is_valid && began < now && !std::mem::take(&mut it.inbox).is_empty() {
            heard = now;
        }
        // It waits for an answer, or sends a POST.
        match stalls {
            _ if is_sent && (stalls || is_routed) => {}
            _ if !is_valid => return it.vote_again(now, began),
            true => drop(self.posts.insert(node)),
            false => self.route = node,
        }
        if stalls && now - began < DEADLINE {
            self.node(node).takeover = Some((began, heard, true));
            return;
        }
        if stalls {
            self.announce(node, true);
        }
        let it = self.node(node);
        it.is_lord = !stalls;
        it.peers.values_mut().for_each(|(seen, _)| *seen = now);
        let in_doubt = now - began > TOLERANCE || it.lordship.has_taken_over();
        it.lordship.note_takeover(began);
        if stalls {
            return it.candidacy.note_failure(now, false, FailedHook::Ours(0));
        }
        it.candidacy.note_success(0);
        it.watch.note_takeover(now, in_doubt, false);
    }

    /// `Member::cycle`, and the look that follows.
    fn cycle(&mut self, node: usize) {
        let (now, looks, route) = (self.now, self.looks, self.route);
        let stalls = self.has(Stalled, node);
        let it = self.node(node);
        let (peers, uuid) = (it.peers.iter(), |start| [start as c_char; 36]);
        let peers = peers.map(|((valor, start), (_, vote))| Peer {
            valor: *valor,
            uuid: uuid(*start),
            follows: uuid(vote.0),
        });
        let peers: Vec<Peer> = peers.collect();
        let votes = Votes::count(uuid(it.start), &peers);
        let mut doubt = || (it.lordship).doubt(now, it.standstill, votes, TOLERANCE);
        if it.is_lord && doubt().is_some() {
            it.is_lord = false;
            it.candidacy.note_lost_lordship();
        }
        it.candidacy.decide(Observed {
            now,
            is_lord: it.is_lord,
            has_rival: peers.iter().any(|peer| peer.valor > 0),
            is_sick: false,
        });
        let cause = it.watch.due(now, it.is_lord, votes);
        if let Some(cause) = cause.filter(|_| looks) {
            it.watch.note_begun(now);
            let finding = match route == node {
                _ if stalls => Finding::Unanswered(Problem::new("timeout")),
                true => Finding::Ours,
                false => Finding::Elsewhere(None),
            };
            let verdict = it.watch.judge(now, cause, finding);
            it.is_lord = !matches!(verdict, Verdict::Retake(_));
        }
    }
}

/// What happens, and whether a Lord looks where the address is.
struct Legion {
    faults: &'static [Fault],
    looks: bool,
}

impl Model for Legion {
    type State = World;
    /// A fault begins or ends before a tick, or nothing does.
    type Action = Option<(Fault, usize)>;

    /// Node 0 is Lord, and has the address.
    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            left: (CHANGES, TICKS),
            looks: self.looks,
            now: Duration::from_secs(1000),
            faults: [0, 1, 2].map(|node| (Down, node)).into(),
            route: 2,
            ..World::default()
        };
        assert_eq!((world.end(&[]), world.route), (Some(0), 0));
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Self::Action>) {
        let faults = self.faults.iter().filter(|_| world.left.0 > 0);
        let changes = faults.flat_map(|fault| [0, 1, 2].map(|node| Some((*fault, node))));
        actions.extend(changes.chain([None]).filter(|_| world.left.1 > 0));
    }

    fn next_state(&self, world: &World, action: Self::Action) -> Option<World> {
        let mut world = world.clone();
        if let Some((fault, node)) = action {
            world.change(fault, node);
            world.left.0 -= 1;
        }
        world.left.1 -= 1;
        world.tick();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let ends_well = |_: &Legion, world: &World| world.ends_well();
        vec![Property::always("it ends well", ends_well)]
    }
}

/// How many states there are, and one that does not end well.
fn check(faults: &'static [Fault], looks: bool) -> (usize, Option<World>) {
    let checker = Legion { faults, looks }.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let bad = checker.discoveries().into_values().next();
    let bad = bad.map(|path| path.last_state().clone());
    (checker.unique_state_count(), bad)
}

#[test]
fn in_every_end_of_the_model_the_lord_has_the_address() {
    let (states, bad) = check(&[Down, Frozen, Cut, Stalled], true);
    assert_eq!(bad, None);
    assert!(states > 50_000, "{states}");
}

#[test]
fn without_looks_a_late_post_moves_the_address_for_good() {
    let bad = check(&[Down, Frozen, Cut, Stalled], false).1;
    let mut world = bad.expect("a bad end");
    assert_ne!(world.end(&[]).expect("a Lord"), world.route);
    // Nothing else does.
    assert_eq!(check(&[Down, Frozen, Cut], false).1, None);
}
