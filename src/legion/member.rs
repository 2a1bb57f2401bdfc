//! This node as a member of one legion: what is observed of it, and what follows from that.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lordship::{Doubt, Lordship, Votes};
use super::standing::{Candidacy, FailedHook, Observed, Rules, Standing, Valor};
use super::watch::{Cause, Finding, Verdict, Watch};
use crate::metrics::{Figures, Place};
use crate::order::{self, Order};
use crate::provider;
use crate::sys;
use crate::text::printable;
use crate::uwsgi::{Hook, Legion, LegionThread, MainThread, settings};

/// One legion that has a hook of ours.
pub struct Member {
    pub legion: Legion,
    /// They live as long as the process, because uWSGI reads them.
    pub figures: &'static Figures,
    rules: Rules,
    state: Mutex<State>,
}

struct State {
    lordship: Lordship,
    candidacy: Candidacy,
    valor: Valor,
    routes: Vec<Route>,
    /// A lord action of ours is running.
    is_acting: bool,
    /// How the node has stepped back, if that is not in the log yet.
    stepped_back: Option<String>,
}

/// An address that a lord hook of the legion routes.
struct Route {
    hook: Hook,
    /// Which of the hook's addresses it is.
    number: usize,
    /// [`Order::account`].
    account: String,
    ip: IpAddr,
    watch: Watch,
}

/// What the caller must do or log for a member after a cycle.
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
        let mut routes = Vec::new();
        for hook in lord_hooks {
            let orders = order::of_action(&hook.action, &hook.argument);
            for (number, order) in orders.iter().enumerate() {
                routes.extend(order.watch.map(|every| Route {
                    hook: hook.clone(),
                    number,
                    account: order.account(),
                    ip: order.ip,
                    watch: Watch::new(every, order.watch_action, provider::late_changes(order)),
                }));
            }
        }
        let hooks = legion.hooks().into_iter();
        let orders = hooks.flat_map(|hook| order::of_action(&hook.action, &hook.argument));
        let figures = Figures::new(orders.map(|order| order.ip));
        Member {
            legion,
            figures: Box::leak(Box::new(figures)),
            rules,
            state: Mutex::new(State {
                lordship: Lordship::default(),
                candidacy: Candidacy::new(rules),
                valor: Valor::new(legion),
                routes,
                is_acting: false,
                stepped_back: None,
            }),
        }
    }

    /// The node has health checks, and was not seen healthy yet. Called at boot, before any peer knows
    /// the node.
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

    /// How many nodes the legion has, according to its configuration.
    pub fn nodes(&self) -> usize {
        self.legion.electorate().0 + 1
    }

    // Called within an action, on the legion thread; `note_takeover` also on the main thread.

    /// A lord action of ours runs until the result is dropped.
    pub fn begin_action(&self) -> Acting<'_> {
        self.state().is_acting = true;
        Acting(self)
    }

    /// Whether the votes that elected this node may be older than its last standstill.
    pub fn has_old_votes(
        &self,
        thread: &LegionThread,
        now: Duration,
        standstill: Option<Duration>,
    ) -> bool {
        let window = settings::tolerance() + settings::announce_interval();
        let is_voted_for = self.legion.is_voted_for(thread);
        self.state()
            .lordship
            .has_old_votes(now, standstill, window, is_voted_for)
    }

    /// Makes the legion vote again: what the peers have said so far is forgotten, and the lord hook
    /// is about to fail without consequences.
    pub fn vote_again(&self, thread: &LegionThread, now: Duration, place: usize) {
        self.legion.discard_backlog(thread);
        self.legion.forget_votes(thread);
        let mut state = self.state();
        state.lordship.note_revote(now);
        state.valor.note_failed_action(self.legion, now, place);
    }

    /// A lord hook is about to fail: the node steps back.
    pub fn step_back(&self, thread: &LegionThread, now: Duration, place: usize, for_good: bool) {
        let mut state = self.state();
        state
            .candidacy
            .note_failure(now, for_good, FailedHook::Ours(place));
        let seconds = self.rules.suspension.as_secs();
        match self.rules.is_movable() {
            true => state.valor.step_back(self.legion, thread, now, place),
            false => state.valor.fall_silent(self.legion, thread, now, place),
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
    /// did not hear its peers for long, or was Lord before and has become it again. `found_here`: the
    /// addresses that were routed to this server already.
    pub fn note_takeover(
        &self,
        began: Duration,
        now: Duration,
        place: usize,
        succeeded: bool,
        found_here: &[IpAddr],
    ) {
        let mut state = self.state();
        let was_deaf = now.saturating_sub(began) > settings::tolerance();
        let in_doubt = was_deaf || state.lordship.has_taken_over();
        state.lordship.note_takeover(began);
        if succeeded {
            state.candidacy.note_success(place);
            state.valor.note_success(place);
            let routes = state.routes.iter_mut();
            for route in routes.filter(|route| route.hook.place == place) {
                let is_found = found_here.contains(&route.ip);
                route.watch.note_takeover(now, in_doubt, is_found);
            }
        }
    }

    // Called on the main thread, in the master's cycles.

    /// Observes the legion, and acts on it. What the caller must do or log is returned.
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
        let is_acting = state.is_acting;
        let has_drawn_conclusions = match self.rules.is_movable() {
            true => state.valor.undo_suspension(legion, thread, now, is_acting),
            false => state.valor.revive_suspended(legion, thread, now),
        };
        let movable = self.rules.is_movable();
        if movable && state.valor.undo_foreign_suspension(legion, thread, now) {
            state
                .candidacy
                .note_failure(now, false, FailedHook::Foreign);
            tasks.push(Task::SteppedBack(format!(
                "stepping back for {} s, because another lord hook failed: this node votes, but \
                 stands for election only if no other node does",
                self.rules.suspension.as_secs()
            )));
        }
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
            // Announced if others should replace it, or if no other node stands: then there is no Lord
            // whom a quiet change would keep.
            // Without a quorum, peers that forget a node for a moment elect themselves.
            let needs_votes = legion.electorate().1 > 1;
            let is_announced = match (seen.is_lord, standing) {
                (true, Standing::Sick) => true,
                (true, _) => false,
                (false, _) => needs_votes && !seen.has_rival && !peers.is_empty(),
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
        let standing = self.standing(&state).number();
        self.figures
            .note_cycle(now, legion.is_lord(), standing, is_sick);
        tasks
    }

    /// How the node stands, and where its addresses lead, as last seen.
    pub fn summary(&self) -> String {
        let legion = self.legion;
        let lord = match legion.is_lord() {
            true => "Lord",
            false => "not Lord",
        };
        let standing = self.standing(&self.state()).word();
        let name = printable(legion.name().as_bytes());
        let mut summary = format!("legion {name}: {lord}, {standing}");
        for address in &self.figures.addresses {
            summary += &format!("; {} {}", address.ip, address.place());
        }
        summary
    }

    /// How the node stands. One whose valor may not be changed falls silent after a failure.
    fn standing(&self, state: &State) -> Standing {
        let is_voter = self.rules.configured == 0 || self.legion.is_suspended();
        match (self.rules.is_movable(), is_voter) {
            (true, _) => state.candidacy.standing(),
            (false, true) => Standing::Voter,
            (false, false) => Standing::Fit,
        }
    }

    /// The order of a route, parsed again so that no password is kept.
    pub fn order(&self, route: usize) -> Option<Order> {
        let state = self.state();
        let Route { hook, number, .. } = state.routes.get(route)?;
        order::of_action(&hook.action, &hook.argument)
            .into_iter()
            .nth(*number)
    }

    /// A look at a route is under way.
    pub fn note_look(&self, route: usize, now: Duration) {
        if let Some(route) = self.state().routes.get_mut(route) {
            route.watch.note_begun(now);
        }
    }

    /// The login of an account was refused to a look: no further one is made with it before the next
    /// takeover, as three refused logins block this server.
    pub fn stop_looks(&self, account: &str) {
        for route in &mut self.state().routes {
            if route.account == account {
                route.watch.stop();
            }
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
        let mut state = self.state();
        let Some(route) = state.routes.get_mut(route) else {
            return Verdict::Nothing;
        };
        let place = match &finding {
            Finding::Ours => Some(Place::Here),
            Finding::Elsewhere(to) => Some(Place::Elsewhere(to.clone())),
            Finding::Changing
            | Finding::Unanswered(_)
            | Finding::Unsupported(_)
            | Finding::Refused(_)
            | Finding::NotSent => None,
        };
        let verdict = route.watch.judge(now, cause, finding);
        if let Some(address) = self.figures.address(route.ip) {
            if let Some(place) = place {
                address.note_place(now, sys::unix_time(), place);
            }
            if matches!(verdict, Verdict::Retake(_)) {
                address.note_retake();
            }
        }
        verdict
    }
}

/// A lord action of ours is running.
pub struct Acting<'a>(&'a Member);

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_acting = false;
        if self.0.rules.is_movable() {
            state.valor.note_end_of_action(self.0.legion);
        }
    }
}
