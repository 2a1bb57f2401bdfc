//! How long a failover takes: from the Lord's death to the route being the next node's.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use testbed::robot::{Robot, Settings};
use testbed::uwsgi::{Launch, Legion, Node, NodeConfig};

use crate::Result;
use crate::figures::Times;

/// How long a switch takes; the real Robot needs 40 to 60 s.
pub const SWITCH: Duration = Duration::from_secs(3);
/// How long a legion may take for one step towards its being settled.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a failover may take.
const LIMIT: Duration = Duration::from_secs(120);
const LORD: &str = "i am now the Lord of the Legion failover";
const SERVERS: [&str; 3] = ["1.1.1.1", "2.2.2.2", "3.3.3.3"];

/// How a legion is set.
#[derive(Clone, Copy)]
pub struct Setting {
    pub freq: u32,
    pub tolerance: u32,
    pub quorum: usize,
}

/// As the C plugin's example has it: uWSGI's own `legion-freq`, and no quorum.
pub const OLD: Setting = Setting {
    freq: 3,
    tolerance: 60,
    quorum: 0,
};
/// As the README recommends.
pub const NEW: Setting = Setting {
    freq: 1,
    tolerance: 5,
    quorum: 2,
};

/// The time of each failover.
pub struct Failovers {
    pub old: Times,
    pub new: Times,
}

/// Lets so many legions of each setting fail over, all at once.
pub fn measure(launch: &Launch, legions: usize) -> Result<Failovers> {
    let (old, new) = thread::scope(|scope| {
        let start = |setting| {
            let threads = (0..legions).map(|place| {
                let share = place as f64 / legions as f64;
                scope.spawn(move || fail_over(launch, setting, share))
            });
            threads.collect::<Vec<_>>()
        };
        let (old, new) = (start(OLD), start(NEW));
        let times = |threads: Vec<thread::ScopedJoinHandle<Result<Duration>>>| {
            let times = threads.into_iter();
            let times = times.map(|thread| thread.join().map_err(|_| "it ended in a panic")?);
            times.collect::<Result<Vec<_>>>()
        };
        (times(old), times(new))
    });
    let times = |times| Times::new(times).ok_or("no legions");
    Ok(Failovers {
        old: times(old?)?,
        new: times(new?)?,
    })
}

/// Kills the Lord of a legion of its own, `share` of an announcement's period after it settled,
/// so that the legions are caught at all points of the period.
fn fail_over(launch: &Launch, setting: Setting, share: f64) -> Result<Duration> {
    let ip: IpAddr = [4, 4, 4, 4].into();
    let robot = Robot::start(Settings {
        failovers: vec![(ip, None)],
        switch_time: SWITCH,
        posts_per_hour: None,
        gets_per_hour: None,
        ..Settings::default()
    })?;
    let legion = Legion {
        quorum: setting.quorum,
        ..Legion::of(3)
    };
    let start = |node| Node::start(launch, &ini(&robot, &legion, setting, node));
    let mut nodes = vec![start(0)?];
    if setting.quorum < 2 {
        // It would be a race of Lords otherwise, and each would take the IP.
        wait(&nodes[0], LORD)?;
    }
    nodes.extend([start(1)?, start(2)?]);
    wait(&nodes[0], LORD)?;
    for node in &nodes {
        settle(node)?;
    }
    let route = |server: &str| Ok::<_, std::net::AddrParseError>(Some(server.parse()?));
    if !robot.wait_for_route(ip, route(SERVERS[0])?, PATIENCE) {
        return Err("the route is not the Lord's".into());
    }
    thread::sleep(Duration::from_secs(setting.freq.into()).mul_f64(share));
    let killed = Instant::now();
    nodes[0].kill();
    match robot.wait_for_route(ip, route(SERVERS[1])?, LIMIT) {
        true => Ok(killed.elapsed()),
        false => Err(format!("nobody took over:\n{}", nodes[1].log().text()).into()),
    }
}

/// Waits for a line.
fn wait(node: &Node, what: &str) -> Result<()> {
    let came = node.log().wait_for(what, PATIENCE);
    came.map(|_| ()).ok_or_else(|| unsettled(node))
}

/// Waits until the last election that a node of three saw is that of the first one, by all of them.
fn settle(node: &Node) -> Result<()> {
    let settled = node.log().wait_until(PATIENCE, |lines| {
        let mut lines = lines.iter().rev().map(|(_, line)| line);
        let last = lines.find(|line| line.contains("WE HAVE QUORUM"))?;
        (last.contains("(valor: 9999 ") && last.contains("votes: 3)")).then_some(())
    });
    settled.ok_or_else(|| unsettled(node))
}

fn unsettled(node: &Node) -> crate::Error {
    format!("the legion does not settle:\n{}", node.log().text()).into()
}

fn ini(robot: &Robot, legion: &Legion, setting: Setting, node: usize) -> String {
    let ip = [4, 4, 4, 4].into();
    let mut config = NodeConfig::new()
        .line(legion.member(node))
        .line(format!(
            "legion-lord = failover hetzner-failoverip:username=FOO,password=BAR,ip={ip},\
             active_ip={},url={},ca_file={}",
            SERVERS[node],
            robot.url(ip),
            robot.ca_file().display(),
            ip = "4.4.4.4",
        ))
        .line("legion-death-on-lord-error = 300")
        .line(format!("legion-tolerance = {}", setting.tolerance));
    if setting.freq != 3 {
        config = config.line(format!("legion-freq = {}", setting.freq));
    }
    config.ini()
}
