//! What the plugin costs a uWSGI: memory, file size and start-up time.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE, process};

use crate::Result;
use crate::samples::Samples;
use crate::target::{SERVERS, Target};

/// How many masters of each kind are measured for their memory.
const MASTERS: usize = 7;
/// Where Debian keeps the certificates that it trusts.
const SYSTEM_STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A figure without the plugin and with it.
pub struct Pair {
    pub without: Samples,
    pub with: Samples,
}

impl Pair {
    /// How much the plugin adds: the difference of the medians.
    pub fn added(&self) -> f64 {
        self.with.median() - self.without.median()
    }

    /// Measures a figure `count` times without the plugin and with it, in turn.
    fn measure(count: usize, mut figure: impl FnMut(bool) -> Result<f64>) -> Result<Pair> {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..count {
            without.push(figure(false)?);
            with.push(figure(true)?);
        }
        Ok(Pair {
            without: Samples::new(without)?,
            with: Samples::new(with)?,
        })
    }
}

pub struct Footprint {
    /// The size of the plugin's file, in bytes.
    pub size: u64,
    /// A master's resident memory once it is Lord, in MiB; with the plugin, after a takeover.
    pub memory: Pair,
    /// The time from exec until the master runs, in milliseconds.
    pub start: Pair,
}

pub fn measure(launch: &Launch, plugins: &Path, starts: usize) -> Result<Footprint> {
    let target = Target::start("localhost", Duration::ZERO)?;
    // The system's certificates, and the mock Robot's CA.
    let store = tempfile::NamedTempFile::new()?;
    for file in [SYSTEM_STORE.as_ref(), target.robot.ca_file()] {
        store.as_file().write_all(&fs::read(file)?)?;
    }
    let start = |with_plugin| {
        let (config, action) = match with_plugin {
            false => (NodeConfig::without_plugin(), "log:Lord".into()),
            true => (NodeConfig::new(), target.plugin(SERVERS[0])),
        };
        let ini = config
            .line(Legion::of(1).member(0))
            .line(format!("legion-lord = failover {action}"))
            .line("legion-freq = 1")
            .ini();
        Node::start_with(launch, &ini, |command| {
            command.env("SSL_CERT_FILE", store.path());
        })
    };
    let memory = |with_plugin| {
        let node = start(with_plugin)?;
        wait(&node, "i am now the Lord")?;
        let kib = process::memory_kib(node.pid(), "VmRSS").ok_or("uWSGI ended")?;
        Ok(kib as f64 / 1024.0)
    };
    let start_time = |with_plugin| {
        let began = Instant::now();
        let node = start(with_plugin)?;
        let running = wait(&node, "spawned uWSGI master process")?;
        Ok((running - began).as_secs_f64() * 1e3)
    };
    Ok(Footprint {
        size: fs::metadata(plugins.join("hetzner_plugin.so"))?.len(),
        // First, because these masters also warm up the page cache for the starts.
        memory: Pair::measure(MASTERS, memory)?,
        start: Pair::measure(starts, start_time)?,
    })
}

/// Waits for a line in a node's log, and returns when it came.
fn wait(node: &Node, part: &str) -> Result<Instant> {
    let came = node.log().wait_until(PATIENCE, |lines| {
        let line = lines.iter().find(|(_, line)| line.contains(part));
        line.map(|(at, _)| *at)
    });
    came.ok_or_else(|| format!("uWSGI did not log {part:?}:\n{}", node.log().text()).into())
}
