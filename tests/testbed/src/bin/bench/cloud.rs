//! How long the failover of a Floating IP takes, and what it costs.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use testbed::cloud::{Cloud, Settings};
use testbed::tcp_relay::TcpRelay;
use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE};

use crate::Result;
use crate::samples::Samples;

/// How long an action of the mock Cloud API runs.
pub const ACTION_TIME: Duration = Duration::from_millis(1500);
/// How many failovers are measured.
const FAILOVERS: usize = 10;

const FLOATING_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(131, 232, 99, 1));
const SERVERS: [u64; 3] = [42, 43, 44];

/// Failovers of a Floating IP. All are in the same order of failovers, so that a difference can be taken.
pub struct CloudFailovers {
    /// Seconds from SIGKILL of the Lord until the address is the next node's.
    pub total: Samples,
    /// Seconds of that after the next node was elected.
    pub after_election: Samples,
    /// What one takeover took.
    pub requests: Samples,
    pub connections: Samples,
    /// Kilobytes in both directions, as they cross the network.
    pub kilobytes: Samples,
    /// The shortest time between two requests about one action, in seconds.
    pub shortest_poll: f64,
}

struct Failover {
    total: f64,
    after_election: f64,
    requests: f64,
    connections: f64,
    kilobytes: f64,
    shortest_poll: f64,
}

/// Makes legions fail over, all at the same time.
pub fn measure(launch: &Launch) -> Result<CloudFailovers> {
    let failovers = thread::scope(|scope| {
        let start = |number: usize| {
            let phase = number as f64 / FAILOVERS as f64;
            scope.spawn(move || fail_over(launch, phase))
        };
        let threads: Vec<_> = (0..FAILOVERS).map(start).collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|failover| failover.map_err(|_| "a thread panicked")?)
            .collect::<Result<Vec<Failover>>>()
    })?;
    let all = |figure: fn(&Failover) -> f64| Samples::new(failovers.iter().map(figure).collect());
    let polls = failovers.iter().map(|failover| failover.shortest_poll);
    Ok(CloudFailovers {
        total: all(|failover| failover.total)?,
        after_election: all(|failover| failover.after_election)?,
        requests: all(|failover| failover.requests)?,
        connections: all(|failover| failover.connections)?,
        kilobytes: all(|failover| failover.kilobytes)?,
        shortest_poll: polls.fold(f64::INFINITY, f64::min),
    })
}

/// Kills the Lord of a legion. `phase` is the part of a second to wait first.
fn fail_over(launch: &Launch, phase: f64) -> Result<Failover> {
    let cloud = Cloud::start(Settings {
        action_time: ACTION_TIME,
        ..Settings::default()
    })?;
    cloud.set_holder(FLOATING_IP, None);
    let legion = Legion::of(3);
    let token = Settings::default().token;
    let ways = SERVERS.map(|_| TcpRelay::to(cloud.port()));
    let mut nodes = Vec::new();
    let mut relays = Vec::new();
    for (node, way) in ways.into_iter().enumerate() {
        let way = way?;
        let ini = NodeConfig::new()
            .line(legion.member(node))
            .line(format!(
                "legion-lord = failover hetzner-floatingip:token={token},ip={FLOATING_IP},\
                 server={},endpoint={},ca_file={}",
                SERVERS[node],
                cloud.endpoint_at(way.port()),
                cloud.ca_file().display()
            ))
            .line("legion-death-on-lord-error = 300\nlegion-tolerance = 5\nlegion-freq = 1")
            .ini();
        nodes.push(Node::start(launch, &ini)?);
        relays.push(way);
    }
    let waited = cloud.wait_for_holder(FLOATING_IP, Some(SERVERS[0]), PATIENCE);
    let log = |node: &Node| format!("the address was not moved:\n{}", node.log().text());
    if !waited || nodes[0].log().wait_for("is routed to", PATIENCE).is_none() {
        return Err(log(&nodes[0]).into());
    }
    for node in &nodes {
        crate::failover::wait_for_election(node)?;
    }
    thread::sleep(Duration::from_secs(1).mul_f64(phase));
    let killed = Instant::now();
    nodes[0].kill();
    if !cloud.wait_for_holder(FLOATING_IP, Some(SERVERS[1]), PATIENCE) {
        return Err(log(&nodes[1]).into());
    }
    let next = &nodes[1];
    let ended = next.log().wait_until(PATIENCE, |lines| {
        let at = |part| lines.iter().find(|(_, line)| line.contains(part));
        let (elected, _) = at("calling hetzner-floatingip")?;
        let (ended, _) = at("is routed to")?;
        Some((*elected, *ended))
    });
    let (elected, ended) = ended.ok_or_else(|| log(next))?;
    let requests = cloud.requests();
    let of_next: Vec<_> = (requests.iter().filter(|request| request.at > killed)).collect();
    let polls: Vec<Instant> = of_next
        .iter()
        .filter(|request| request.path.contains("/actions/") && request.method == "GET")
        .map(|request| request.at)
        .collect();
    let gaps = polls
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64());
    Ok(Failover {
        total: (ended - killed).as_secs_f64(),
        after_election: (ended - elected).as_secs_f64(),
        requests: of_next.len() as f64,
        connections: relays[1].connections() as f64,
        kilobytes: relays[1].bytes() as f64 / 1000.0,
        shortest_poll: gaps.fold(f64::INFINITY, f64::min),
    })
}
