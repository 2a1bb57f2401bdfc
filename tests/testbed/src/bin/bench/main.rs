//! `make bench`: compares the plugin with curl in one run, and prints the report as Markdown.
//!
//! `action` times legion actions, over loopback and the slow links of `network`. `footprint`
//! measures memory, file size and start-up. `failover` kills Lords, `cloud` does so with a Floating IP,
//! and `several` takes three addresses over. `target` is the mock Robot that
//! they all use, `samples` does the statistics, and `report` compares the figures with the aims.

mod action;
mod cloud;
mod failover;
mod footprint;
mod network;
mod report;
mod samples;
mod several;
mod target;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use testbed::uwsgi::Launch;

use samples::Samples;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: bench UWSGI PLUGINS_DIR CALLS CALLS_20_MS CALLS_100_MS STARTS LEGIONS
PLUGINS_DIR contains hetzner_plugin.so and bench_plugin.so, which is driver.c";

struct Figures {
    /// On loopback, at 20 ms and at 100 ms.
    series: [action::Series; 3],
    footprint: footprint::Footprint,
    /// With the settings of [`failover::SETTINGS`].
    failovers: [Samples; 2],
    several: several::Several,
    cloud: cloud::CloudFailovers,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: ERROR {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [uwsgi, plugins, counts @ ..] = arguments else {
        return Err(USAGE.into());
    };
    let counts = counts.iter().map(|count| count.parse());
    let counts = counts.collect::<std::result::Result<Vec<usize>, _>>()?;
    let [near, at_20_ms, at_100_ms, starts, legions] = counts[..] else {
        return Err(USAGE.into());
    };
    // Before any thread exists, so that the whole process is in the new namespace.
    network::isolate()?;
    let launch = Launch {
        uwsgi: Path::new(uwsgi).canonicalize()?,
        plugins_dir: Some(Path::new(plugins).canonicalize()?),
        farewell: None,
    };
    eprintln!("bench: calling the plugin and curl in turn");
    let series = [
        action::measure(&launch, 0, near)?,
        action::measure(&launch, 20, at_20_ms)?,
        action::measure(&launch, 100, at_100_ms)?,
    ];
    eprintln!("bench: measuring memory and start-up");
    let footprint = footprint::measure(&launch, plugins.as_ref(), starts)?;
    eprintln!("bench: killing Lords (up to two minutes)");
    let failovers = failover::measure(&launch, legions)?;
    eprintln!("bench: taking over several addresses");
    let several = several::measure(&launch)?;
    eprintln!("bench: killing Lords of a Floating IP");
    let cloud = cloud::measure(&launch)?;
    let figures = Figures {
        series,
        footprint,
        failovers,
        several,
        cloud,
    };
    print!("{}", report::markdown(&figures));
    Ok(())
}
