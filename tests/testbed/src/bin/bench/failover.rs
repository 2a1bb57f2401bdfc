//! How long a failover takes: from the death of the Lord until the IP is routed to the next node.

use std::thread;
use std::time::{Duration, Instant};

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE};

use crate::Result;
use crate::samples::Samples;
use crate::target::{SERVERS, Target};

/// How long a switch takes. A real one takes 40 to 110 s.
pub const SWITCH_TIME: Duration = Duration::from_secs(3);
/// More than a failover takes.
const LIMIT: Duration = Duration::from_secs(120);

/// `legion-tolerance` and `legion-freq`, in seconds: those of `packaging/uwsgi.ini`, and those that an
/// action needs if it blocks its node for up to a minute. A real switch may take longer.
pub const SETTINGS: [(u32, u32); 2] = [(5, 1), (60, 3)];

/// Makes this many legions of each setting fail over, all at the same time. Returns the seconds that
/// each failover took, for each setting.
pub fn measure(launch: &Launch, legions: usize) -> Result<[Samples; 2]> {
    thread::scope(|scope| {
        let [fast, slow] = SETTINGS.map(|setting| {
            let start = |number| {
                let phase = number as f64 / legions as f64;
                scope.spawn(move || fail_over(launch, setting, phase))
            };
            (0..legions).map(start).collect::<Vec<_>>()
        });
        let samples = |threads: Vec<thread::ScopedJoinHandle<Result<f64>>>| {
            let times = threads.into_iter().map(|thread| thread.join());
            let times = times.map(|time| time.map_err(|_| "a thread panicked")?);
            Samples::new(times.collect::<Result<_>>()?)
        };
        Ok([samples(fast)?, samples(slow)?])
    })
}

/// Kills the Lord of a legion. `phase` is the part of an announcement's period to wait first, so
/// that the legions are hit at all points of it.
fn fail_over(launch: &Launch, (tolerance, freq): (u32, u32), phase: f64) -> Result<f64> {
    let target = Target::start("localhost", SWITCH_TIME)?;
    let legion = Legion::of(3);
    let start = |(node, server)| {
        let action = target.plugin_with_ca(server);
        let ini = NodeConfig::new()
            .line(legion.member(node))
            .line(format!("legion-lord = failover {action}"))
            .line("legion-death-on-lord-error = 300")
            .line(format!("legion-tolerance = {tolerance}"))
            .line(format!("legion-freq = {freq}"))
            .ini();
        Node::start(launch, &ini)
    };
    let nodes = SERVERS.into_iter().enumerate().map(start);
    let mut nodes = nodes.collect::<std::io::Result<Vec<_>>>()?;
    target.wait_for_route(SERVERS[0], PATIENCE)?;
    nodes.iter().try_for_each(wait_for_election)?;
    thread::sleep(Duration::from_secs(freq.into()).mul_f64(phase));
    let killed = Instant::now();
    nodes[0].kill();
    target.wait_for_route(SERVERS[1], LIMIT)?;
    Ok(killed.elapsed().as_secs_f64())
}

/// Waits until the last election in a node's log is that of the first node, by all three.
pub fn wait_for_election(node: &Node) -> Result<()> {
    let elected = node.log().wait_until(PATIENCE, |lines| {
        let mut lines = lines.iter().rev().map(|(_, line)| line);
        let last = lines.find(|line| line.contains("WE HAVE QUORUM"))?;
        (last.contains("(valor: 9999 ") && last.contains("votes: 3)")).then_some(())
    });
    elected.ok_or_else(|| format!("no lasting election:\n{}", node.log().text()).into())
}
