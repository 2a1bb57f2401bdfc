//! How long the plugin's action takes, compared with `cmd:curl`: both are called in turn, in one uWSGI.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE};

use crate::Result;
use crate::network;
use crate::samples::Samples;
use crate::target::{SERVERS, Target};

/// How many bare TCP connections are made before the calls, and how many after them.
const CONNECTIONS: usize = 25;
/// Longer than a round of calls takes.
const ROUND: Duration = Duration::from_secs(4);

/// One series of calls. All times are in milliseconds.
pub struct Series {
    /// The round-trip time added; 0 is loopback.
    pub added: u8,
    /// The time to open a TCP connection: one round trip.
    pub connect: Samples,
    pub plugin: Samples,
    pub curl: Samples,
}

impl Series {
    /// The least that TCP, TLS 1.3 and one request can take: three round trips.
    pub fn minimum(&self) -> f64 {
        3.0 * self.connect.median()
    }
}

/// Calls each action this often, or once more, with this round-trip time added.
pub fn measure(launch: &Launch, added: u8, calls: usize) -> Result<Series> {
    let start = |host: &str| Target::start(host, Duration::ZERO);
    let target = match added {
        0 => start("127.0.0.1")?,
        _ => network::at_far_end(added, |address| start(&address.to_string()))?,
    };
    let mut connect = connect(&target)?;
    let [plugin, curl] = call(launch, &target, calls.div_ceil(2))?;
    connect.extend(self::connect(&target)?);
    Ok(Series {
        added,
        connect: Samples::new(connect)?,
        plugin,
        curl,
    })
}

fn connect(target: &Target) -> Result<Vec<f64>> {
    let connect = |_| {
        let began = Instant::now();
        TcpStream::connect((target.host.as_str(), target.robot.port()))?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    (0..CONNECTIONS).map(connect).collect()
}

/// Calls each action twice in each round.
fn call(launch: &Launch, target: &Target, rounds: usize) -> Result<[Samples; 2]> {
    let [one, two, _] = SERVERS;
    // In both orders, because a call may affect the next one. Each call switches the route.
    let plan = format!(
        "{rounds}\nplugin {}\ncurl {}\ncurl {}\nplugin {}\n",
        target.plugin_with_ca(one),
        target.curl_with_ca(two),
        target.curl_with_ca(one),
        target.plugin_with_ca(two),
    );
    let result = run(launch, &plan, PATIENCE + ROUND * rounds as u32)?;
    let requests = target.robot.requests();
    let answered = requests
        .iter()
        .filter(|request| request.status == Some(200));
    if answered.count() != 4 * (rounds + 1) {
        return Err("not every call was answered with 200".into());
    }
    let (mut plugin, mut curl) = (Vec::new(), Vec::new());
    for line in result.lines() {
        // uWSGI may lose the exit status of curl, which is judged by the answers alone.
        let (times, nanoseconds) = match line.split(' ').collect::<Vec<_>>()[..] {
            ["plugin", nanoseconds, "0"] => (&mut plugin, nanoseconds),
            ["curl", nanoseconds, _] => (&mut curl, nanoseconds),
            _ => return Err(format!("a call failed: {line}").into()),
        };
        times.push(nanoseconds.parse::<f64>()? / 1e6);
    }
    Ok([Samples::new(plugin)?, Samples::new(curl)?])
}

/// Runs a plan in a new node with `driver.c`, and returns the result.
fn run(launch: &Launch, plan: &str, patience: Duration) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("plan");
    fs::write(&path, plan)?;
    let ini = NodeConfig::new()
        .line("need-plugin = bench")
        .line(Legion::of(1).member(0))
        .line(format!("legion-lord = failover bench:{}", path.display()))
        .line("legion-freq = 1")
        .ini();
    let node = Node::start(launch, &ini)?;
    match node.log().wait_for("bench: done", patience) {
        Some(_) => Ok(fs::read_to_string(path.with_extension("out"))?),
        None => Err(format!("the driver did not finish:\n{}", node.log().text()).into()),
    }
}
