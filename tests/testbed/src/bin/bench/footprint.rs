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

/// What a master has beside uWSGI itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bare,
    /// `cmd:curl`, after it ran.
    Curl,
    /// The plugin after a takeover, with `ca_file`.
    File,
    /// The plugin after a takeover, with the system's store.
    Store,
}

/// The master of one kind of uWSGI once it is Lord; medians.
pub struct Master {
    pub kind: Kind,
    /// Resident memory, in KiB.
    pub resident: u64,
    /// That part of it that is no file's, in KiB.
    pub anonymous: u64,
    pub libraries: u64,
    pub threads: u64,
}

/// All that were measured.
pub struct Masters(Vec<Master>);

impl Masters {
    pub fn all(&self) -> &[Master] {
        &self.0
    }

    /// The one without the plugin, which the others are held against.
    pub fn bare(&self) -> Result<&Master> {
        let mut all = self.0.iter();
        let bare = all.find(|master| master.kind == Kind::Bare);
        Ok(bare.ok_or("no master without the plugin was measured")?)
    }

    /// The most that any with the plugin has of something.
    pub fn most_of_ours(&self, what: fn(&Master) -> u64) -> Result<u64> {
        let ours = self.0.iter().filter(|master| master.kind.has_plugin());
        let most = ours.map(what).max();
        Ok(most.ok_or("no master with the plugin was measured")?)
    }
}

impl Kind {
    fn has_plugin(self) -> bool {
        match self {
            Kind::Bare | Kind::Curl => false,
            Kind::File | Kind::Store => true,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Bare => "without the plugin",
            Kind::Curl => "with `cmd:curl`, after it ran",
            Kind::File => "with the plugin, after a takeover (`ca_file`)",
            Kind::Store => "with the plugin, after a takeover (the system's store)",
        }
    }

    fn config(self, target: &Target) -> NodeConfig {
        match self {
            Kind::Bare => bare(),
            Kind::Curl => with_curl(target),
            Kind::File => with_plugin(target, true),
            Kind::Store => with_plugin(target, false),
        }
    }
}

/// The time from exec to the line that says that the master runs.
pub struct Starts {
    pub without: Times,
    pub with: Times,
}

/// Measures masters: bare, with the plugin after a takeover, with curl after one.
pub fn masters(launch: &Launch) -> Result<Masters> {
    let target = Target::with_name()?;
    let store = Store::with(&target.robot)?;
    let mut kinds = vec![Kind::Bare, Kind::Curl, Kind::File];
    if store.is_some() {
        kinds.push(Kind::Store);
    }
    let mut samples: Vec<Vec<Master>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (kind, samples) in kinds.iter().zip(&mut samples) {
            samples.push(sample(launch, *kind, &target, store.as_ref())?);
        }
    }
    let medians = kinds.into_iter().zip(samples).map(|(kind, samples)| {
        let of = |number: fn(&Master) -> u64| median(samples.iter().map(number).collect());
        Master {
            kind,
            resident: of(|master| master.resident),
            anonymous: of(|master| master.anonymous),
            libraries: of(|master| master.libraries),
            threads: of(|master| master.threads),
        }
    });
    Ok(Masters(medians.collect()))
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

fn sample(launch: &Launch, kind: Kind, target: &Target, store: Option<&Store>) -> Result<Master> {
    let ini = kind.config(target).ini();
    let node = Node::start_with(launch, &ini, |command| {
        let store = store.filter(|_| kind == Kind::Store);
        command.envs(store.map(|store| ("SSL_CERT_FILE", &store.path)));
    })?;
    let end = node
        .log()
        .wait_for_any(&["i am now the Lord", "lord hook returned"], PATIENCE);
    // uWSGI may lose how a command ended, which is no matter here.
    if !end.is_some_and(|end| kind == Kind::Curl || end.contains("i am now the Lord")) {
        let name = kind.name();
        return Err(format!("{name}: it is not Lord:\n{}", node.log().text()).into());
    }
    let kib = |what| process::memory_kib(node.pid(), what).ok_or("no such process");
    Ok(Master {
        kind,
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
pub fn starts(launch: &Launch, count: usize) -> Result<Starts> {
    let target = Target::with_name()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..=count {
        without.push(start(launch, &bare())?);
        with.push(start(launch, &with_plugin(&target, true))?);
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
