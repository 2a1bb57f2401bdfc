//! One round: the first Lord, a minute of trouble, and peace.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use testbed::uwsgi::Launch;

use crate::cluster::Cluster;
use crate::fault::Step;
use crate::plan::{Plan, TROUBLE};
use crate::review::review;
use crate::rules::{QUIET, Rules, TO_SETTLE};
use crate::world::World;

/// How often the world is brought up to date, and the rules are checked.
const TICK: Duration = Duration::from_millis(100);
/// How long the first Lord may take, on a busy machine.
const FIRST_LORD: Duration = Duration::from_secs(60);

/// A round that has ended.
pub struct Round {
    pub plan: Plan,
    pub cluster: Cluster,
    pub rules: Rules,
    /// When the first Lord had the address.
    pub start: Instant,
    /// How long after the trouble the legion came to rest.
    pub settled: Option<Duration>,
}

impl Round {
    /// # Errors
    /// The machine has no room for it.
    pub fn run(launch: &Launch, plan: Plan) -> io::Result<Round> {
        let mut cluster = Cluster::build(launch, &plan.setup, plan.seed)?;
        cluster.start_all()?;
        let mut round = Round {
            rules: Rules::of(&plan.setup),
            plan,
            cluster,
            start: Instant::now(),
            settled: None,
        };
        if round.first_lord() {
            round.trouble()?;
            round.peace()?;
        }
        review(&mut round.rules, &round.cluster);
        Ok(round)
    }

    fn first_lord(&mut self) -> bool {
        let sound = World::sound(self.plan.setup.nodes);
        let give_up = Instant::now() + FIRST_LORD;
        while self.rules.settled().is_none() {
            if Instant::now() >= give_up {
                self.rules.note_unsettled(&self.cluster, "no first Lord");
                return false;
            }
            self.rules.observe(&mut self.cluster, &sound, &[]);
            thread::sleep(TICK);
        }
        self.start = Instant::now();
        true
    }

    fn trouble(&mut self) -> io::Result<()> {
        let mut done = 0;
        loop {
            let now = self.start.elapsed();
            if now >= TROUBLE {
                return Ok(());
            }
            let world = World::at(self.plan.setup.nodes, &self.plan.steps, now);
            let begun: Vec<Step> = self.plan.steps[done..]
                .iter()
                .take_while(|step| step.at <= now)
                .copied()
                .collect();
            done += begun.len();
            self.cluster.apply(&world, &begun)?;
            self.rules.observe(&mut self.cluster, &world, &begun);
            thread::sleep(TICK);
        }
    }

    fn peace(&mut self) -> io::Result<()> {
        let sound = World::sound(self.plan.setup.nodes);
        let healed = Instant::now();
        self.cluster.leave_alone();
        let mut was_settled_in_time = false;
        loop {
            self.cluster.apply(&sound, &[])?;
            self.rules.observe(&mut self.cluster, &sound, &[]);
            let is_late = healed.elapsed() > TO_SETTLE;
            match self.rules.settled() {
                Some(since) if since.max(healed).elapsed() >= QUIET => {
                    self.settled = Some(since.saturating_duration_since(healed));
                    return Ok(());
                }
                Some(since) => was_settled_in_time |= since <= healed + TO_SETTLE,
                None => {}
            }
            let rests = self
                .rules
                .settled()
                .is_some_and(|since| since <= healed + TO_SETTLE);
            if is_late && !rests {
                let how = match was_settled_in_time {
                    true => "it did not rest",
                    false => "it did not settle",
                };
                self.rules.note_unsettled(&self.cluster, how);
                return Ok(());
            }
            thread::sleep(TICK);
        }
    }
}
