//! What the plugin costs between takeovers: masters that are Lord and have nothing to do, with it and
//! without it, at the same time.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig};

use crate::Result;
use crate::action::Target;
use crate::failover::{LORD, NEW, SERVERS, settle, wait};
use crate::figures::middle;

/// How many legions of each kind and size.
const LEGIONS: usize = 4;
/// How long they are watched.
pub const WATCHED: Duration = Duration::from_secs(30);

/// What one master did in that time.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time, in microseconds a second: millionths of a core.
    pub busy: f64,
    /// How often a thread of it was woken, a second.
    pub wakes: f64,
}

/// Lords of legions of one size.
pub struct Pair {
    pub without: Vec<Usage>,
    pub with: Vec<Usage>,
}

pub struct Idle {
    /// Without peers, whose packets wake it more or less often, as they happen to coincide.
    pub alone: Pair,
    pub of_three: Pair,
}

impl Pair {
    /// How much more of something those with the plugin have, by their medians.
    pub fn more(&self, figure: fn(&Usage) -> f64) -> f64 {
        median(&self.with, figure) - median(&self.without, figure)
    }
}

/// The middle one of some figures.
pub fn median(of: &[Usage], figure: fn(&Usage) -> f64) -> f64 {
    let mut figures: Vec<f64> = of.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    middle(&figures)
}

/// Watches Lords, alone and in legions of three whose other nodes are of the same kind.
pub fn measure(launch: &Launch) -> Result<Idle> {
    let target = Target::with_name()?;
    let bare = |nodes| {
        legion(launch, nodes, NodeConfig::without_plugin, |_| {
            "log:here".into()
        })
    };
    let ours = |nodes| {
        legion(launch, nodes, NodeConfig::new, |server| {
            format!("hetzner-failoverip:{}", target.ours(server, true))
        })
    };
    let mut legions = Vec::new();
    for _ in 0..LEGIONS {
        legions.extend([bare(1)?, ours(1)?, bare(3)?, ours(3)?]);
    }
    let usages = watch(&legions)?;
    // As they were started, by turns.
    let of = |place| usages.iter().skip(place).step_by(4).copied().collect();
    Ok(Idle {
        alone: Pair {
            without: of(0),
            with: of(1),
        },
        of_three: Pair {
            without: of(2),
            with: of(3),
        },
    })
}

/// What each legion's Lord uses.
fn watch(legions: &[Vec<Node>]) -> Result<Vec<Usage>> {
    let spent = || {
        let lords = legions.iter().map(|nodes| spent(nodes[0].pid()));
        lords.collect::<Result<Vec<_>>>()
    };
    let began = Instant::now();
    let before = spent()?;
    thread::sleep(WATCHED);
    let after = spent()?;
    let seconds = began.elapsed().as_secs_f64();
    let usages = before.iter().zip(&after).map(|(before, after)| Usage {
        busy: (after.nanoseconds - before.nanoseconds) as f64 / 1e3 / seconds,
        wakes: (after.wakes - before.wakes) as f64 / seconds,
    });
    Ok(usages.collect())
}

/// A legion as the README recommends it, once it has settled; its Lord is the first.
fn legion(
    launch: &Launch,
    nodes: usize,
    config: fn() -> NodeConfig,
    action: impl Fn(&str) -> String,
) -> Result<Vec<Node>> {
    let legion = Legion::of(nodes);
    let servers = SERVERS.iter().take(nodes).enumerate();
    let nodes = servers.map(|(place, server)| {
        let config = config()
            .line(legion.member(place))
            .line(format!("legion-lord = failover {}", action(server)))
            .line(format!("legion-freq = {}", NEW.freq))
            .line(format!("legion-tolerance = {}", NEW.tolerance))
            .line("legion-death-on-lord-error = 300");
        Node::start(launch, &config.ini())
    });
    let nodes = nodes.collect::<std::io::Result<Vec<_>>>()?;
    wait(&nodes[0], LORD)?;
    if nodes.len() > 1 {
        nodes.iter().try_for_each(settle)?;
    }
    Ok(nodes)
}

/// What a process has used since it began; its threads are the same before and after.
struct Spent {
    nanoseconds: u64,
    wakes: u64,
}

fn spent(pid: u32) -> Result<Spent> {
    let mut spent = Spent {
        nanoseconds: 0,
        wakes: 0,
    };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // Time on a processor, time waiting for one, and how often it got one.
        let times = fs::read_to_string(task.join("schedstat"))?;
        let on_processor = times.split_whitespace().next().unwrap_or_default();
        spent.nanoseconds += on_processor.parse::<u64>()?;
        // It waited so often, and was woken as often.
        let status = fs::read_to_string(task.join("status"))?;
        let mut lines = status.lines();
        let waits = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        spent.wakes += waits.unwrap_or_default().trim().parse::<u64>()?;
    }
    Ok(spent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_median_is_that_of_the_textbook() {
        let of = |wakes: &[f64]| {
            let usages = wakes.iter().map(|&wakes| Usage { busy: 0.0, wakes });
            median(&usages.collect::<Vec<_>>(), |usage| usage.wakes)
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn what_a_process_used_is_found() {
        // Not this one, whose threads come and go with its tests.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        // Sooner or later it has run, and waits for what to read.
        let found = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            let spent = spent(child.id()).unwrap();
            spent.nanoseconds > 0 && spent.wakes > 0
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
