//! `make bench`: the plugin beside what a user would have instead, in one run.
//!
//! `action` times legion actions, through `driver`, over `network` and its
//! `relay`; `footprint` weighs masters; `failover` kills Lords. `figures` are what they find,
//! `aims` judge it, `report` says it.

mod action;
mod aims;
mod driver;
mod failover;
mod figures;
mod footprint;
mod machine;
mod network;
mod relay;
mod report;

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use testbed::uwsgi::Launch;

use action::{Series, Store, Target};
use aims::Verdict;
use driver::Driver;
use network::Link;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

const USAGE: &str = "usage: bench UWSGI PLUGINS_DIR OUTPUT_DIR [option...]

  UWSGI             the uWSGI binary
  PLUGINS_DIR       the directory that holds hetzner_plugin.so
  OUTPUT_DIR        where BENCHMARKS.md goes
  --calls A,B,C     calls on loopback, at 20 ms, at 100 ms (default: 300,200,200)
  --starts N        starts with the plugin and without (default: 200)
  --legions N       legions of each setting (default: 10)";

/// All that was found.
pub struct Figures {
    machine: machine::Machine,
    /// The plugin's and curl's.
    versions: Vec<String>,
    /// How round-trip time was added, or why it could not be.
    how: std::result::Result<String, String>,
    series: Vec<Series>,
    masters: footprint::Masters,
    starts: footprint::Starts,
    size: u64,
    failovers: failover::Failovers,
}

struct Counts {
    calls: [usize; 3],
    starts: usize,
    legions: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [uwsgi, plugins, output, options @ ..] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(counts) = Counts::parse(options) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let command = match options {
        [] => "make bench".to_owned(),
        options => format!("make bench BENCH=\"{}\"", options.join(" ")),
    };
    let measured = measure(uwsgi.as_ref(), plugins.as_ref(), &counts);
    match measured.and_then(|figures| publish(&figures, output.as_ref(), &command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: ERROR {error}");
            ExitCode::FAILURE
        }
    }
}

impl Counts {
    fn parse(options: &[String]) -> Option<Counts> {
        let mut counts = Counts {
            calls: [300, 200, 200],
            starts: 200,
            legions: 10,
        };
        for option in options.chunks(2) {
            let [name, value] = option else {
                return None;
            };
            let numbers = value
                .split(',')
                .map(|number| number.parse().ok().filter(|&n| n > 0));
            let numbers: Vec<usize> = numbers.collect::<Option<_>>()?;
            match (name.as_str(), numbers.as_slice()) {
                ("--calls", &[a, b, c]) => counts.calls = [a, b, c],
                ("--starts", &[starts]) => counts.starts = starts,
                ("--legions", &[legions]) => counts.legions = legions,
                _ => return None,
            }
        }
        Some(counts)
    }
}

fn measure(uwsgi: &Path, plugins: &Path, counts: &Counts) -> Result<Figures> {
    let launch = Launch {
        uwsgi: uwsgi.canonicalize()?,
        plugins_dir: Some(plugins.canonicalize()?),
        farewell: None,
    };
    let machine = machine::Machine::this(&launch.uwsgi)?;
    let driver = Driver::build()?;
    let target = Target::start(Ipv4Addr::LOCALHOST)?;
    let store = Store::with(&target.robot)?;

    say("calling the action and curl in turn on loopback");
    let [near, at_20, at_100] = counts.calls;
    let mut series = vec![action::on_loopback(&driver, &launch, &target, near, None)?];
    if let Some(store) = &store {
        series.push(action::on_loopback(
            &driver,
            &launch,
            &target,
            near,
            Some(store),
        )?);
    }
    let mut how = Err("not tried".to_owned());
    for (added, calls) in [(20, at_20), (100, at_100)] {
        let link = match Link::new(Duration::from_millis(added)) {
            Ok(link) => link,
            Err(error) => {
                say(&format!(
                    "left out: a round-trip time of {added} ms: {error}"
                ));
                how = how.map_err(|_| error.to_string());
                continue;
            }
        };
        say(&format!("the same with a round-trip time of {added} ms"));
        series.push(action::over(&link, &driver, &launch, calls)?);
        how = Ok(link.how);
    }
    say("weighing masters, and starting them");
    let masters = footprint::masters(&launch)?;
    let starts = footprint::starts(&launch, counts.starts)?;
    say("killing Lords: up to two minutes");
    let failovers = failover::measure(&launch, counts.legions)?;
    Ok(Figures {
        machine,
        versions: target.versions(),
        how,
        series,
        masters,
        starts,
        size: footprint::size(plugins)?,
        failovers,
    })
}

fn publish(figures: &Figures, output: &Path, command: &str) -> Result<()> {
    let aims = aims::of(figures)?;
    let report = report::markdown(figures, &aims, command)?;
    fs::write(output.join("BENCHMARKS.md"), report)?;
    for aim in aims {
        let verdict = match aim.verdict {
            Verdict::Met => "met         ",
            Verdict::Missed => "NOT MET     ",
            Verdict::NotMeasured => "NOT MEASURED",
        };
        println!("{verdict}  {}: {}", aim.what, aim.found);
    }
    println!("\nBENCHMARKS.md is written.");
    Ok(())
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
