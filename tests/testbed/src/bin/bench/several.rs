//! How long three addresses take: in one action, and in three lord hooks.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use testbed::robot::{Robot, Settings};
use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, PATIENCE};

use crate::Result;
use crate::failover::SWITCH_TIME;
use crate::samples::Samples;

/// How many takeovers of each kind are measured.
const TAKEOVERS: usize = 5;
const SERVER: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);

/// The seconds that a takeover takes, by how the addresses are written.
pub struct Several {
    pub one: Samples,
    pub three_in_one_action: Samples,
    pub three_actions: Samples,
}

/// Measures them all at the same time.
pub fn measure(launch: &Launch) -> Result<Several> {
    let kinds: [&[u8]; 3] = [&[1], &[3], &[1, 1, 1]];
    let [one, three_in_one_action, three_actions] = thread::scope(|scope| {
        kinds
            .map(|actions| {
                let start = |_| scope.spawn(move || take_over(launch, actions));
                (0..TAKEOVERS).map(start).collect::<Vec<_>>()
            })
            .map(|threads| {
                let times = threads.into_iter().map(thread::ScopedJoinHandle::join);
                let times = times.map(|time| time.map_err(|_| "a thread panicked")?);
                Samples::new(times.collect::<Result<_>>()?)
            })
    });
    Ok(Several {
        one: one?,
        three_in_one_action: three_in_one_action?,
        three_actions: three_actions?,
    })
}

/// One takeover by these actions, each with so many addresses of its own: the seconds from the first
/// line about it to the lordship.
fn take_over(launch: &Launch, actions: &[u8]) -> Result<f64> {
    let mut last = 0;
    let mut ips = |number| {
        let ips = (0..number).map(|_| {
            last += 1;
            IpAddr::from([4, 4, 4, last])
        });
        ips.collect::<Vec<_>>()
    };
    let actions: Vec<Vec<IpAddr>> = actions.iter().map(|number| ips(*number)).collect();
    let robot = Robot::start(Settings {
        failovers: actions.iter().flatten().map(|ip| (*ip, None)).collect(),
        switch_time: SWITCH_TIME,
        ..Settings::default()
    })?;
    let mut config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line("legion-freq = 1");
    for ips in actions {
        let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        config = config.line(format!(
            "legion-lord = failover hetzner-failoverip:username=FOO,password=BAR,ip={},\
             active_ip={SERVER},url={}/failover/{{ip}},ca_file={}",
            ips.join(" "),
            robot.origin(),
            robot.ca_file().display()
        ));
    }
    let node = Node::start(launch, &config.ini())?;
    let span = node.log().wait_until(PATIENCE + 5 * SWITCH_TIME, |lines| {
        let at = |part| lines.iter().find(|(_, line)| line.contains(part));
        let (began, _) = at("calling hetzner-failoverip")?;
        let (ended, _) = at("i am now the Lord")?;
        Some(*ended - *began)
    });
    let span: Option<Duration> = span;
    let log = || format!("no takeover:\n{}", node.log().text());
    Ok(span.ok_or_else(log)?.as_secs_f64())
}
