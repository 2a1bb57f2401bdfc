//! How long the legion may be without a Lord that has the address.

use std::time::{Duration, Instant};

use testbed::tcp_relay::State;

use crate::plan::MOST_TOLERATED;
use crate::service::Kind;
use crate::setup::Setup;
use crate::world::{Condition, World};

/// While a majority is well connected and the webservice works, there is a Lord with the address
/// after this time at the latest.
const LONGEST: Duration = Duration::from_secs(40);

/// A takeover without any connection for so long fails.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(15);

/// The time that the legion could have had a Lord with the address, and had none.
pub struct Outage {
    quorum: usize,
    timeout: Duration,
    /// How long a node that is cut off from the webservice in a takeover may go on with it.
    cut_off: Duration,
    since: Option<Instant>,
    /// The nodes that can take over. If one is lost, the time begins again.
    able: Vec<bool>,
    /// When a request may have been left without an answer, for the last time.
    unanswered: Option<Instant>,
    /// When a node's clock was last wrong.
    wrong_clock: Option<Instant>,
    /// The address was moved by hand, and nobody has noticed yet.
    is_moved: bool,
}

impl Outage {
    pub fn of(setup: &Setup) -> Outage {
        let number = u32::try_from(setup.addresses.len()).expect("one or two");
        // The addresses of one action are moved at the same time, otherwise one takeover follows the other.
        let takeovers = if setup.is_together { 1 } else { number };
        // Alias IPs take turns.
        let turns = match setup.service {
            Kind::Robot | Kind::Floating => takeovers,
            Kind::Alias => number,
        };
        let timeout = Duration::from_secs(setup.timeout);
        let deadline = Duration::from_secs(setup.deadline);
        Outage {
            quorum: setup.nodes / 2 + 1,
            timeout: timeout * turns,
            cut_off: match setup.service {
                // The change may be running, and while an alias IP is on no server, only going on helps.
                Kind::Robot | Kind::Alias => deadline * takeovers,
                // Nothing is left to wait for, so it is given up like any other without a connection.
                Kind::Floating => (timeout + CONNECTION_PATIENCE) * takeovers,
            },
            since: None,
            able: Vec::new(),
            unanswered: None,
            wrong_clock: None,
            is_moved: false,
        }
    }

    /// Somebody has moved the address.
    pub fn note_moved(&mut self) {
        self.is_moved = true;
    }

    /// A request may have lost its answer.
    pub fn note_reset(&mut self) {
        self.unanswered = Some(Instant::now());
    }

    /// Whether there has been no Lord with the address for too long: longer than what is returned.
    pub fn observe(&mut self, now: Instant, world: &World, has_both: bool) -> Option<Duration> {
        self.is_moved &= !has_both;
        let able: Vec<bool> = world.nodes.iter().map(Condition::is_able).collect();
        let lost_none = self.able.iter().zip(&able).all(|(was, is)| !was || *is);
        self.able = able;
        let patience = self.patience(now, world)?;
        if has_both || !lost_none {
            self.since = None;
        }
        if has_both {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let is_over = now.duration_since(since) > patience;
        // Told once.
        self.since = self.since.filter(|_| !is_over);
        is_over.then_some(patience)
    }

    /// How long it may take. `None`: for any time, as too much is wrong.
    fn patience(&mut self, now: Instant, world: &World) -> Option<Duration> {
        // One that is heard by some of them, or now and then, may vote for itself.
        let is_clear = |node: &Condition| node.is_silent() || node.is_connected();
        let connected = || world.nodes.iter().filter(|node| node.is_connected());
        let is_good = !self.is_moved
            && world.service.is_none()
            && world.nodes.iter().all(is_clear)
            && connected().count() >= self.quorum
            && connected().any(Condition::is_able);
        if world.service.is_some() || world.nodes.iter().any(is_cut_off) {
            self.unanswered = Some(now);
        }
        if world.nodes.iter().any(|node| node.clock != 0) {
            self.wrong_clock = Some(now);
        }
        if !is_good {
            self.since = None;
            return None;
        }
        // Such a request may still be waited for.
        let is_waiting = self
            .unanswered
            .is_some_and(|since| now.duration_since(since) < LONGEST + self.timeout);
        // A peer that died just before a clock was set back is dropped so much later.
        let set_back = Duration::from_secs(MOST_TOLERATED.unsigned_abs());
        let is_recent = |since: Instant| now.duration_since(since) < LONGEST + set_back;
        let more = match self.wrong_clock.is_some_and(is_recent) {
            true => set_back,
            false => Duration::ZERO,
        };
        Some(match connected().any(is_cut_off) {
            true => LONGEST + self.cut_off + more,
            false if is_waiting => LONGEST + self.timeout + more,
            false => LONGEST + more,
        })
    }
}

/// Whether its connections to the webservice are cut or kept waiting.
fn is_cut_off(node: &Condition) -> bool {
    node.way != State::Open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Exit;
    use crate::plan::Plan;

    #[test]
    fn an_outage_ends_with_a_lord_or_begins_again_with_the_next_loss() {
        let mut outage = Outage::of(&Plan::from_seed(1, Kind::Robot, 3).setup);
        let start = Instant::now();
        let sound = World::sound(3);
        let mut one_down = sound.clone();
        one_down.nodes[0].down = Some(Exit::Killed);
        let mut two_down = one_down.clone();
        two_down.nodes[1].down = Some(Exit::Killed);
        for (second, world, has_both, is_over) in [
            (0, &sound, true, false),
            (30, &sound, false, false),
            (60, &one_down, false, false),
            (99, &sound, false, false),
            (101, &sound, false, true),
            (102, &sound, false, false),
            (130, &two_down, false, false),
            (200, &one_down, false, false),
            (239, &sound, false, false),
            (240, &sound, true, false),
            (300, &sound, false, false),
        ] {
            let now = start + Duration::from_secs(second);
            let told = outage.observe(now, world, has_both);
            assert_eq!(told.is_some(), is_over, "{second}");
        }
    }

    #[test]
    fn a_route_that_somebody_moved_is_no_outage_until_it_is_back() {
        let mut outage = Outage::of(&Plan::from_seed(1, Kind::Robot, 3).setup);
        let (start, sound) = (Instant::now(), World::sound(3));
        let at = |second| start + Duration::from_secs(second);
        outage.note_moved();
        assert_eq!(outage.observe(at(0), &sound, false), None);
        assert_eq!(outage.observe(at(70), &sound, false), None);
        assert_eq!(outage.observe(at(71), &sound, true), None);
        assert_eq!(outage.observe(at(72), &sound, false), None);
        assert_eq!(outage.observe(at(113), &sound, false), Some(LONGEST));
    }
}
