//! This node as a member of one legion: what is observed of it, and what follows from that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lordship::{Doubt, Lordship, Votes};
use super::standing::{Candidacy, Observed, Rules, Standing, Valor};
use super::watch::{Cause, Finding, Verdict, Watch};
use crate::order::Order;
use crate::uwsgi::{Hook, Legion, LegionThread, MainThread, settings};

/// One legion that has a hook of ours.
pub struct Member {
    pub legion: Legion,
    rules: Rules,
    state: Mutex<State>,
}

struct State {
    lordship: Lordship,
    candidacy: Candidacy,
    valor: Valor,
    routes: Vec<Route>,
    /// When the votes were last forgotten, in time since the machine was started.
    revoted: Option<Duration>,
    /// How the node has stepped back, if that is not in the log yet.
    stepped_back: Option<String>,
}

/// An address that a lord hook of the legion routes.
struct Route {
    hook: Hook,
    watch: Watch,
}

/// What has to be done for a member after a cycle.
pub enum Task {
    /// Its lordship was doubted, and is forgotten.
    Doubted(Doubt),
    /// It has stepped back after a failure, in this way.
    SteppedBack(String),
    /// It stands differently from now on.
    Stands(Standing),
    /// It was suspended, and will come back.
    Revived,
    /// A look at one of its routes is due.
    Look(usize, Cause),
}

impl Member {
    /// `no_preempt`: a Lord keeps its lordship when a higher valor comes back.
    pub fn new(legion: Legion, no_preempt: bool) -> Member {
        let rules = Rules::of(legion, no_preempt);
        let lord_hooks = legion
            .hooks()
            .into_iter()
            .filter(|hook| hook.event == "lord");
        let routes = lord_hooks.filter_map(|hook| {
            let order = Order::parse(&hook.argument).ok()?;
            let watch = Watch::new(order.watch?, order.watch_action);
            Some(Route { hook, watch })
        });
        Member {
            legion,
            rules,
            state: Mutex::new(State {
                lordship: Lordship::default(),
                candidacy: Candidacy::new(rules),
                valor: Valor::new(legion),
                routes: routes.collect(),
                revoted: None,
                stepped_back: None,
            }),
        }
    }

    /// The node has health checks, and has not been seen to be healthy. For the boot, before
    /// anybody knows of it.
    pub fn begin_sick(&self) {
        if self.rules.is_movable() {
            let mut state = self.state();
            state.candidacy.begin_sick();
            let valor = state.candidacy.valor();
            state.valor.begin_with(self.legion, valor);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a lord hook of the legion has its argument at this place.
    pub fn is_lord_hook(&self, place: usize) -> bool {
        let hooks = self.legion.hooks();
        hooks
            .iter()
            .any(|hook| hook.event == "lord" && hook.place == place)
    }

    /// How many nodes the legion has, as far as it lists them.
    pub fn nodes(&self) -> usize {
        self.legion.electorate().0 + 1
    }

    // What the legion thread does, within an action.

    /// Whether the votes that elected this node may be older than its last standstill. They are old
    /// until each peer has announced itself again, or was dropped for its silence.
    pub fn has_old_votes(&self, now: Duration, standstill: Option<Duration>) -> bool {
        let Some(standstill) = standstill else {
            return false;
        };
        let window = settings::tolerance() + settings::announce_interval();
        let is_recent = now.saturating_sub(standstill) <= window;
        let has_revoted = self
            .state()
            .revoted
            .is_some_and(|revoted| revoted >= standstill);
        is_recent && !has_revoted
    }

    /// Makes the legion vote again: what the peers have said so far is forgotten, and the lord hook
    /// is about to fail without consequences.
    pub fn vote_again(&self, thread: &LegionThread, now: Duration) {
        self.legion.discard_backlog(thread);
        self.legion.forget_votes(thread);
        let mut state = self.state();
        state.revoted = Some(now);
        state.valor.note_failed_action(self.legion, now);
    }

    /// A lord hook is about to fail: the node steps back.
    pub fn step_back(&self, thread: &LegionThread, now: Duration, for_good: bool) {
        let mut state = self.state();
        state.candidacy.note_failure(now, for_good);
        let seconds = self.rules.suspension.as_secs();
        match self.rules.is_movable() {
            true => state.valor.step_back(self.legion, thread, now),
            false => state.valor.note_silence(now),
        }
        state.stepped_back = Some(match (self.rules.is_movable(), for_good) {
            (true, true) => format!(
                "stepping back for {seconds} s: this node votes, but does not stand for election"
            ),
            (true, false) => format!(
                "stepping back for {seconds} s: this node votes, but stands for election only if no other node does"
            ),
            (false, _) => format!(
                "stepping back; this node falls silent, because there is no room below its valor, \
                 {}: configure valors from 1000 on",
                self.rules.configured
            ),
        });
    }

    /// A takeover that began then has ended. Another node may have begun one meanwhile if this one
    /// did not hear its peers for long, or was Lord before and has become it again.
    pub fn note_takeover(&self, began: Duration, now: Duration, place: usize, succeeded: bool) {
        let mut state = self.state();
        let was_deaf = now.saturating_sub(began) > settings::tolerance();
        let in_doubt = was_deaf || state.lordship.has_taken_over();
        state.lordship.note_takeover(began);
        if succeeded {
            state.candidacy.note_success(began);
            state.valor.note_succeeded_action();
            let route = state
                .routes
                .iter_mut()
                .find(|route| route.hook.place == place);
            if let Some(route) = route {
                route.watch.note_takeover(now, in_doubt);
            }
        }
    }

    // What the main thread does, in each of the master's cycles.

    /// Observes the legion, and does what can be done at once. The rest is returned.
    pub fn cycle(
        &self,
        thread: &MainThread,
        now: Duration,
        standstill: Option<Duration>,
        is_sick: bool,
    ) -> Vec<Task> {
        let legion = self.legion;
        let mut tasks = Vec::new();
        let mut state = self.state();
        let has_drawn_conclusions = match self.rules.is_movable() {
            true => state.valor.undo_suspension(legion, thread, now),
            false => state.valor.revive_suspended(legion, thread, now),
        };
        if has_drawn_conclusions {
            tasks.extend(state.stepped_back.take().map(Task::SteppedBack));
            if !self.rules.is_movable() {
                tasks.push(Task::Revived);
            }
        }
        let peers = legion.peers(thread);
        let votes = Votes::count(legion.uuid(), &peers);
        if legion.is_lord() {
            let doubt = state
                .lordship
                .doubt(now, standstill, votes, settings::tolerance());
            match doubt {
                Some(doubt) => {
                    legion.forget_lordship();
                    state.candidacy.note_lost_lordship();
                    tasks.push(Task::Doubted(doubt));
                }
                None => legion.warn_at_once(),
            }
        }
        let seen = Observed {
            now,
            is_lord: legion.is_lord(),
            has_rival: peers.iter().any(|peer| peer.valor > 0),
            is_sick,
        };
        if self.rules.is_movable() && !state.valor.is_within_failure() {
            let before = state.candidacy.standing();
            let standing = state.candidacy.decide(seen);
            if standing != before {
                tasks.push(Task::Stands(standing));
            }
            // Others are to replace it, or nobody is there whom a quiet change would leave as Lord.
            let is_announced = match (seen.is_lord, standing) {
                (true, Standing::Sick) => true,
                (true, _) => false,
                (false, _) => !seen.has_rival && !peers.is_empty(),
            };
            let target = state.candidacy.valor();
            state.valor.set(legion, thread, target, is_announced, now);
            state.valor.advance(legion, thread, now);
        }
        for (index, route) in state.routes.iter_mut().enumerate() {
            if let Some(cause) = route.watch.due(now, seen.is_lord, votes) {
                tasks.push(Task::Look(index, cause));
            }
        }
        tasks
    }

    /// The order of a route, parsed again so that no password is kept.
    pub fn order(&self, route: usize) -> Option<Order> {
        let state = self.state();
        Order::parse(&state.routes.get(route)?.hook.argument).ok()
    }

    /// A look at a route is under way.
    pub fn note_look(&self, route: usize, now: Duration) {
        if let Some(route) = self.state().routes.get_mut(route) {
            route.watch.note_begun(now);
        }
    }

    /// A look that is due cannot be sent yet.
    pub fn postpone_look(&self, route: usize, cause: Cause) {
        if let Some(route) = self.state().routes.get_mut(route) {
            route.watch.postpone(cause);
        }
    }

    /// What follows from a look.
    pub fn judge(&self, route: usize, now: Duration, cause: Cause, finding: Finding) -> Verdict {
        match self.state().routes.get_mut(route) {
            Some(route) => route.watch.judge(now, cause, finding),
            None => Verdict::Nothing,
        }
    }
}
