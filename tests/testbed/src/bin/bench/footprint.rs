//! What the plugin costs a uWSGI: memory, libraries, threads, and time to start.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE, process};

use crate::Result;
use crate::action::{Store, Target};
use crate::figures::{Times, median};

/// How often each is measured for its memory.
const ROUNDS: usize = 7;
const STARTED: &str = "spawned uWSGI master process";

/// The master of one kind of uWSGI once it is Lord; medians.
pub struct Master {
    pub name: String,
    /// Resident memory, in KiB.
    pub resident: u64,
    /// That part of it that is no file's, in KiB.
    pub anonymous: u64,
    pub libraries: u64,
    pub threads: u64,
}

/// The time from exec to the line that says that the master runs.
pub struct Starts {
    pub without: Times,
    pub with: Times,
}

struct Kind<'a> {
    name: String,
    config: NodeConfig,
    store: Option<&'a Store>,
}

/// Measures masters: bare, with the plugin after a takeover, with curl after one.
pub fn masters(launch: &Launch, target: &Target, store: Option<&Store>) -> Result<Vec<Master>> {
    let kinds = kinds(target, store);
    let mut samples: Vec<Vec<Master>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (kind, samples) in kinds.iter().zip(&mut samples) {
            samples.push(sample(launch, kind)?);
        }
    }
    let medians = kinds.iter().zip(samples).map(|(kind, samples)| {
        let of = |number: fn(&Master) -> u64| median(samples.iter().map(number).collect());
        Master {
            name: kind.name.clone(),
            resident: of(|master| master.resident),
            anonymous: of(|master| master.anonymous),
            libraries: of(|master| master.libraries),
            threads: of(|master| master.threads),
        }
    });
    Ok(medians.collect())
}

fn kinds<'a>(target: &Target, store: Option<&'a Store>) -> Vec<Kind<'a>> {
    let kind = |name: &str, config, store| Kind {
        name: name.into(),
        config,
        store,
    };
    let mut kinds = vec![
        kind("without the plugin", bare(), None),
        kind("with `cmd:curl`, after it ran", with_curl(target), None),
        kind(
            "with the plugin, after a takeover (`ca_file`)",
            with_plugin(target, true),
            None,
        ),
    ];
    if let Some(store) = store {
        let name = "with the plugin, after a takeover (the system's store)";
        kinds.push(kind(name, with_plugin(target, false), Some(store)));
    }
    kinds
}

/// A Lord at once, which calls this.
fn lord(config: NodeConfig, action: &str) -> NodeConfig {
    config
        .line(Legion::of(1).member(0))
        .line(format!("legion-lord = failover {action}"))
        .line("legion-freq = 1")
}

fn bare() -> NodeConfig {
    lord(NodeConfig::without_plugin(), "log:here")
}

fn with_curl(target: &Target) -> NodeConfig {
    lord(
        NodeConfig::without_plugin(),
        &format!("cmd:{}", target.curl("2.2.2.2", true)),
    )
}

fn with_plugin(target: &Target, trust: bool) -> NodeConfig {
    let action = format!("hetzner-failoverip:{}", target.ours("1.1.1.1", trust));
    lord(NodeConfig::new(), &action)
}

fn sample(launch: &Launch, kind: &Kind) -> Result<Master> {
    let node = Node::start_with(launch, &kind.config.ini(), |command| {
        command.envs(kind.store.map(|store| ("SSL_CERT_FILE", &store.path)));
    })?;
    let end = node
        .log()
        .wait_for_any(&["i am now the Lord", "lord hook returned"], PATIENCE);
    // uWSGI may lose how a command ended, which is no matter here.
    let curl_ran = kind.name.contains("curl");
    if !end.is_some_and(|end| curl_ran || end.contains("i am now the Lord")) {
        return Err(format!("{}: it is not Lord:\n{}", kind.name, node.log().text()).into());
    }
    let kib = |what| process::memory_kib(node.pid(), what).ok_or("no such process");
    Ok(Master {
        name: kind.name.clone(),
        resident: kib("VmRSS")?,
        anonymous: kib("RssAnon")?,
        libraries: libraries(node.pid())? as u64,
        threads: process::threads(node.pid()) as u64,
    })
}

/// How many shared libraries a process has mapped, plugins included.
fn libraries(pid: u32) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let libraries: HashSet<&str> = paths.filter(|path| path.contains(".so")).collect();
    Ok(libraries.len())
}

/// Starts uWSGI so often without the plugin and with it, in turn.
pub fn starts(launch: &Launch, target: &Target, count: usize) -> Result<Starts> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..=count {
        without.push(start(launch, &bare())?);
        with.push(start(launch, &with_plugin(target, true))?);
    }
    // The first of each is for warming up.
    let times = |times: Vec<Duration>| Times::new(times.into_iter().skip(1)).ok_or("no starts");
    Ok(Starts {
        without: times(without)?,
        with: times(with)?,
    })
}

fn start(launch: &Launch, config: &NodeConfig) -> Result<Duration> {
    let ini = config.ini();
    let began = Instant::now();
    let node = Node::start(launch, &ini)?;
    let came = node.log().wait_until(PATIENCE, |lines| {
        let line = lines.iter().find(|(_, line)| line.contains(STARTED));
        line.map(|(at, _)| *at)
    });
    let at = came.ok_or_else(|| format!("it does not start:\n{}", node.log().text()))?;
    Ok(at - began)
}

/// The size of the plugin's file, in bytes.
pub fn size(plugins: &Path) -> Result<u64> {
    Ok(fs::metadata(plugins.join("hetzner_plugin.so"))?.len())
}
