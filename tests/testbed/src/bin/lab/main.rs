//! `make lab`: how long a failover lasts for a client, in a network of real addresses and routes.
//!
//! `failover` kills a server and waits for the next, `host` is what runs on a server, and `service`
//! moves the address. `check` tries `--hetzner-check` where something is wrong with the network, and
//! `loss` how often announcements get lost in a row. `report` writes it all down.

mod check;
mod failover;
mod host;
mod loss;
mod report;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use testbed::network::{cage, web};

use failover::{Outcome, Setup};
use host::Keeper;
use loss::Alarms;
use service::{Kind, Trouble};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: lab report UWSGI PLUGINS_DIR FAILOVERS
       lab short UWSGI PLUGINS_DIR

  report       measures everything, with so many failovers of each kind, and prints it as Markdown
  short        the checks, and one failover; prints what happens
  UWSGI        the uWSGI binary
  PLUGINS_DIR  the directory that contains hetzner_plugin.so";

/// The services and who moves the address with them. The plugin's tolerances are the recommended one,
/// shorter ones, and the one that an action needs if it blocks its node.
const SETUPS: [(Kind, Keeper); 7] = [
    (
        Kind::Robot,
        Keeper::Legion {
            tolerance: 2,
            freq: 1,
        },
    ),
    (
        Kind::Robot,
        Keeper::Legion {
            tolerance: 3,
            freq: 1,
        },
    ),
    (
        Kind::Robot,
        Keeper::Legion {
            tolerance: 5,
            freq: 1,
        },
    ),
    (
        Kind::Robot,
        Keeper::Legion {
            tolerance: 60,
            freq: 3,
        },
    ),
    (Kind::Robot, Keeper::Keepalived),
    (
        Kind::Cloud,
        Keeper::Legion {
            tolerance: 5,
            freq: 1,
        },
    ),
    (Kind::Cloud, Keeper::Keepalived),
];

const TROUBLES: [Trouble; 3] = [
    Trouble::Unavailable,
    Trouble::Locked(Duration::from_secs(10)),
    Trouble::Lost,
];

/// What servers are started with.
pub struct Tools {
    uwsgi: PathBuf,
    /// Contains the plugin and the web application.
    plugins: tempfile::TempDir,
}

struct Figures {
    checks: Vec<(&'static str, String)>,
    /// For each of [`SETUPS`].
    outages: Vec<Vec<Outcome>>,
    /// For each of [`SETUPS`], and of [`TROUBLES`].
    troubles: Vec<Vec<Outcome>>,
    /// For each of [`loss::TOLERANCES`], and each legion.
    alarms: Vec<Vec<Alarms>>,
}

fn main() -> ExitCode {
    cage::enclose(|| match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: ERROR {error}");
            ExitCode::FAILURE
        }
    })
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["short", uwsgi, plugins] => short(&tools(uwsgi, plugins)?),
        ["report", uwsgi, plugins, failovers] => {
            let figures = measure(&tools(uwsgi, plugins)?, failovers.parse()?)?;
            print!("{}", report::markdown(&figures));
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn tools(uwsgi: &str, plugins: &str) -> Result<Tools> {
    Ok(Tools {
        uwsgi: Path::new(uwsgi).canonicalize()?,
        plugins: web::plugins(Path::new(plugins))?,
    })
}

/// One failover, and the checks beside it.
fn short(tools: &Tools) -> Result<()> {
    let (service, keeper) = SETUPS[0];
    let setup = Setup {
        service,
        keeper,
        trouble: Trouble::Nothing,
    };
    thread::scope(|scope| {
        let checks = scope.spawn(|| check::try_all(tools));
        let outcome = join(scope.spawn(|| failover::carry_out(tools, setup, 0.0)))??;
        for (name, found) in join(checks)?? {
            println!("--hetzner-check, {name}: {found}");
        }
        match outcome.ends_well {
            true => Ok(()),
            false => Err("the failover IP is not at the next server".into()),
        }
    })
}

/// All at the same time, in two parts, so that little else runs while outages are measured.
fn measure(tools: &Tools, failovers: usize) -> Result<Figures> {
    eprintln!("lab: killing servers (a minute and a half)");
    let outages = thread::scope(|scope| {
        let start = |number: usize| {
            let (service, keeper) = SETUPS[number / failovers];
            let phase = (number % failovers) as f64 / failovers as f64;
            let setup = Setup {
                service,
                keeper,
                trouble: Trouble::Nothing,
            };
            scope.spawn(move || failover::carry_out(tools, setup, phase))
        };
        collect(
            (0..SETUPS.len() * failovers).map(start).collect(),
            failovers,
        )
    })?;
    eprintln!("lab: the same with trouble, and lost announcements (two and a half minutes)");
    thread::scope(|scope| {
        let checks = scope.spawn(|| check::try_all(tools));
        let alarms = loss::TOLERANCES.into_iter().flat_map(|tolerance| {
            (0..loss::LEGIONS)
                .map(move |seed| scope.spawn(move || loss::measure(tools, tolerance, seed)))
        });
        let alarms = alarms.collect();
        let troubles = SETUPS.into_iter().flat_map(|(service, keeper)| {
            TROUBLES.map(|trouble| {
                let setup = Setup {
                    service,
                    keeper,
                    trouble,
                };
                scope.spawn(move || failover::carry_out(tools, setup, 0.0))
            })
        });
        let troubles = troubles.collect();
        Ok(Figures {
            outages,
            troubles: collect(troubles, TROUBLES.len())?,
            alarms: collect(alarms, loss::LEGIONS as usize)?,
            checks: join(checks)??,
        })
    })
}

/// The results of threads, in groups of this size.
fn collect<T>(threads: Vec<ScopedJoinHandle<Result<T>>>, size: usize) -> Result<Vec<Vec<T>>> {
    let mut results = Vec::new();
    for thread in threads {
        if results
            .last()
            .is_none_or(|group: &Vec<T>| group.len() == size)
        {
            results.push(Vec::new());
        }
        if let Some(group) = results.last_mut() {
            group.push(join(thread)??);
        }
    }
    Ok(results)
}

fn join<T>(thread: ScopedJoinHandle<T>) -> Result<T> {
    thread.join().map_err(|_| "a thread panicked".into())
}
