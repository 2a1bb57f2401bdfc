//! Has a uWSGI call legion actions over and over, and time them: the Rust side of `driver.c`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig};

use crate::Result;
use crate::figures::Times;

/// The plugin, built.
pub struct Driver {
    directory: tempfile::TempDir,
}

/// What is to be called, in turn.
pub struct Plan {
    /// Each step is called so often, and once more before, to warm up.
    pub rounds: usize,
    /// What each of a step's round trips takes at least.
    pub round_trip: Duration,
    /// Steps of one name are counted together.
    pub steps: Vec<(&'static str, Step)>,
}

pub enum Step {
    /// A legion action and its argument.
    Call(&'static str, String),
    /// A bare TCP connection.
    Connect(SocketAddr),
}

/// What came of a step: the time of each call, warm-up left out, and how many returned an error,
/// warm-up included.
pub struct Timed {
    pub times: Times,
    pub errors: usize,
}

impl Driver {
    /// Builds the plugin with the system's C compiler.
    pub fn build() -> Result<Driver> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        std::fs::write(directory.path().join("driver.c"), include_str!("driver.c"))?;
        let built = Command::new("cc")
            .args([
                "-O2",
                "-shared",
                "-fPIC",
                "-o",
                "bench_plugin.so",
                "driver.c",
                "-I",
            ])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../include"))
            .current_dir(directory.path())
            .status()?;
        match built.success() {
            true => Ok(Driver { directory }),
            false => Err("the C compiler cannot build the driver".into()),
        }
    }

    /// Has a fresh node run a plan, with these environment variables. The results are in the order in which
    /// the steps' names come first.
    pub fn run(
        &self,
        launch: &Launch,
        plan: &Plan,
        variables: &[(&str, &Path)],
    ) -> Result<Vec<Timed>> {
        let path = self.directory.path().join("plan");
        std::fs::write(&path, plan.text())?;
        let ini = NodeConfig::new()
            .line(format!("plugin = {}", self.plugin().display()))
            .line(Legion::of(1).member(0))
            .line(format!("legion-lord = failover bench:{}", path.display()))
            .line("legion-freq = 1")
            .ini();
        let node = Node::start_with(launch, &ini, |command| {
            command.envs(variables.iter().copied());
        })?;
        let ends = ["bench: done", "bench: no plan", "UNABLE to load"];
        match node.log().wait_for_any(&ends, plan.patience()) {
            Some(end) if end.ends_with(ends[0]) => {}
            _ => return Err(format!("the driver did not end:\n{}", node.log().text()).into()),
        }
        let results = std::fs::read_to_string(path.with_extension("out"))?;
        let timed = plan.names().into_iter().map(|name| read(&results, name));
        timed
            .collect::<Option<_>>()
            .ok_or_else(|| "the driver's results make no sense".into())
    }

    fn plugin(&self) -> PathBuf {
        self.directory.path().join("bench_plugin.so")
    }
}

impl Plan {
    /// How long it may take: far longer than it does.
    fn patience(&self) -> Duration {
        // A request over a new connection takes three round trips, and two of them where a takeover asks.
        let step = Duration::from_millis(200) + 6 * self.round_trip;
        let steps = (self.rounds + 1) * self.steps.len();
        Duration::from_secs(60) + step.mul_f64(steps as f64)
    }

    /// The names of the steps, each once.
    fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, _) in &self.steps {
            if !names.contains(name) {
                names.push(*name);
            }
        }
        names
    }

    fn text(&self) -> String {
        let mut text = format!("rounds {}\n", self.rounds);
        for (name, step) in &self.steps {
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Call(action, argument) => writeln!(text, "call {name} {action} {argument}"),
                Step::Connect(to) => writeln!(text, "connect {name} {} {}", to.ip(), to.port()),
            };
        }
        text
    }
}

/// The results of the steps of one name: lines of round, name, nanoseconds, return value.
fn read(results: &str, name: &str) -> Option<Timed> {
    let mut times = Vec::new();
    let mut errors = 0;
    for line in results.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [round, step, took, returned] = words[..] else {
            return None;
        };
        if step == name {
            errors += usize::from(returned != "0");
            if round != "0" {
                times.push(Duration::from_nanos(took.parse().ok()?));
            }
        }
    }
    Times::new(times).map(|times| Timed { times, errors })
}
