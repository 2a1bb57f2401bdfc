//! `make nemesis`: rounds of random faults on a legion of real uWSGI nodes.
//!
//! A round is planned from a seed (`setup` and `plan`, with the faults of `fault` and `trouble`) and carried
//! out on a `cluster` of nodes (`member`) whose ways to each other and to the mock `service` can be cut, and
//! whose clocks can be stepped (`clock`); `world` is how all of that is at one moment. `view` reads what each
//! node logs, `timeline` notes what the service did, `absence` when a node was away, `outage` for how long
//! there was no Lord. `rules` says what must hold meanwhile, and `review` what must hold of the whole.
//! `report` prints the rounds in which something did not.

mod absence;
mod clock;
mod cluster;
mod fault;
mod member;
mod outage;
mod plan;
mod report;
mod review;
mod round;
mod rules;
mod service;
mod setup;
mod timeline;
mod trouble;
mod view;
mod world;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use testbed::uwsgi::Launch;

use plan::Plan;
use round::Round;
use service::Kind;

const USAGE: &str = "usage: nemesis UWSGI PLUGINS_DIR ROUNDS NODES SEED JOBS SERVICE

  UWSGI        the uWSGI binary
  PLUGINS_DIR  the directory that contains hetzner_plugin.so
  ROUNDS       how many rounds
  NODES        the nodes of the legion, 3 or 5
  SEED         the seed of the first round; each further one has the next
  JOBS         how many rounds run side by side
  SERVICE      what the legion moves: robot (a failover IP), floating (a Floating IP of the Cloud), alias
               (an alias IP there), or all: so many rounds of each";

struct Arguments {
    launch: Launch,
    rounds: u64,
    nodes: usize,
    seed: u64,
    jobs: u64,
    services: Vec<Kind>,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Option<Arguments> {
        let [uwsgi, plugins_dir, rounds, nodes, seed, jobs, service] = arguments else {
            return None;
        };
        // A uWSGI that does not find a plugin runs without it.
        let plugins_dir = PathBuf::from(plugins_dir).canonicalize().ok()?;
        plugins_dir.join("hetzner_plugin.so").canonicalize().ok()?;
        Some(Arguments {
            launch: Launch {
                uwsgi: PathBuf::from(uwsgi).canonicalize().ok()?,
                plugins_dir: Some(plugins_dir),
                farewell: None,
            },
            rounds: rounds.parse().ok()?,
            nodes: nodes.parse().ok().filter(|nodes| [3, 5].contains(nodes))?,
            seed: seed.parse().ok()?,
            jobs: jobs.parse().ok().filter(|jobs| *jobs > 0)?,
            services: match service.as_str() {
                "all" => Kind::ALL.to_vec(),
                name => vec![name.parse().ok()?],
            },
        })
    }

    /// How many rounds there are.
    fn total(&self) -> u64 {
        self.rounds * self.services.len() as u64
    }

    /// What the round with this number is about, and its seed.
    fn round(&self, number: u64) -> Option<(Kind, u64)> {
        let services = self.services.len() as u64;
        let service = self.services[usize::try_from(number % services).ok()?];
        let seed = self.seed.wrapping_add(number / services);
        (number < self.total()).then_some((service, seed))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(arguments) = Arguments::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let failed = run(&arguments);
    println!("{} rounds, {} failed", arguments.total(), failed.len());
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            println!("failed: {}", failed.join(", "));
            ExitCode::FAILURE
        }
    }
}

/// Runs all rounds, and returns the names of those that failed.
fn run(arguments: &Arguments) -> Vec<String> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..arguments.jobs.min(arguments.total()) {
            // The kernel ends nodes with the thread that started them, so it lives as long as they do.
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((service, seed)) = arguments.round(number) else {
                        return;
                    };
                    let plan = Plan::from_seed(seed, service, arguments.nodes);
                    let outcome = Round::run(&arguments.launch, plan);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    let name = format!("{} seed {seed}", service.name());
                    match outcome {
                        Ok(round) => {
                            println!("{}", report::summary(&round));
                            if !round.rules.violations.is_empty() {
                                println!("{}", report::failure(&round));
                                failed.push(name);
                            }
                        }
                        Err(error) => {
                            println!("{name}: FAILED: could not be run: {error}");
                            failed.push(name);
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}
