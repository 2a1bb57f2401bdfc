//! Attacks by a webservice, one after the other on one node, each measured on its own.

use std::fmt::Write;

use testbed::robot::{Fault, Method, Robot, Settings, When};
use testbed::uwsgi::{Node, PATIENCE};

use crate::context::{Context, action, robot_with};
use crate::driver::{driven_node, wait_for_mark};
use crate::memcheck;

/// Short, but long enough for a lost answer, a lost query and another post.
const TIMES: &str = "timeout=1,deadline=6";
/// The deadline, in seconds.
const DEADLINE: f64 = 6.0;

/// How much the master's memory may grow in KiB, including what the first takeover needs for good.
const MAX_GROWTH: u64 = 4096;

const OURS: &str = "[hetzner-failoverip] ";

/// The expected end of an attacked takeover.
pub enum End {
    /// Routed after this number of requests.
    Routed(usize),
    /// Done, but unconfirmed; the line contains this.
    Unconfirmed(&'static str),
    /// Failed; the line contains this.
    Failed(&'static str),
}

/// A takeover that talks to a hostile webservice.
pub struct Attack {
    name: String,
    robot: Robot,
    end: End,
}

impl Attack {
    /// `prepare` orders what the Robot does.
    pub fn new(name: &str, end: End, prepare: impl FnOnce(&Robot)) -> Attack {
        let robot = robot_without_limits();
        prepare(&robot);
        Attack {
            name: name.into(),
            robot,
            end,
        }
    }

    /// The switch happens, and the fault replaces the answer to the `POST`.
    pub fn on_post(name: &str, fault: &Fault) -> Attack {
        Attack::new(&format!("{name} to a POST"), End::Routed(2), |robot| {
            let fault = Fault::ApplyThen(Box::new(fault.clone()));
            robot.order(When::Once(Method::Post), fault);
        })
    }

    /// The switch happens, the answer is lost, and the fault replaces the answer to the `GET`.
    pub fn on_get(name: &str, fault: &Fault) -> Attack {
        Attack::new(&format!("{name} to a GET"), End::Routed(3), |robot| {
            let lost = Fault::ApplyThen(Box::new(Fault::Reset));
            robot.order(When::Once(Method::Post), lost);
            robot.order(When::Once(Method::Get), fault.clone());
        })
    }
}

/// Runs each fault in the place of the answer to a `POST` and to a `GET`. Both times the takeover must
/// find out that the failover IP is routed to its server.
pub fn withstands(context: &Context, faults: &[(&str, Fault)]) {
    let both = faults
        .iter()
        .flat_map(|(name, fault)| [Attack::on_post(name, fault), Attack::on_get(name, fault)]);
    run_attacks(context, &both.collect::<Vec<_>>());
}

/// Runs one good takeover, and then one for each attack. Each must end as expected, with little
/// memory, and with lines that nobody could mistake for others.
pub fn run_attacks(context: &Context, attacks: &[Attack]) -> Node {
    let good = robot_without_limits();
    let mut config = driven_node()
        .line("legion-lord = failover mark:cold")
        .line(format!("legion-lord = failover {}", action(&good, TIMES)))
        .line("legion-lord = failover mark:0");
    for (number, attack) in attacks.iter().enumerate() {
        config = config
            .line(format!(
                "legion-lord = failover {}",
                action(&attack.robot, TIMES)
            ))
            .line(format!("legion-lord = failover mark:{}", number + 1));
    }
    let node = context.start(&config);
    let cold = wait_for_mark(&node, "cold", PATIENCE);
    let mut complaints = String::new();
    for (number, attack) in attacks.iter().enumerate() {
        let after = wait_for_mark(&node, &(number + 1).to_string(), PATIENCE);
        let lines = lines_between(&node, number);
        for complaint in attack.complaints(&lines, after.peak.saturating_sub(cold.memory)) {
            let _ = writeln!(complaints, "{}: {complaint}", attack.name);
        }
    }
    assert!(complaints.is_empty(), "{complaints}\n{}", node.log().text());
    node
}

fn robot_without_limits() -> Robot {
    robot_with(|settings: &mut Settings| {
        settings.posts_per_hour = None;
        settings.gets_per_hour = None;
    })
}

/// The lines that the node wrote between one mark and the next.
fn lines_between(node: &Node, number: usize) -> Vec<String> {
    let [before, after] = [number, number + 1].map(|number| format!("[driver] {number}: "));
    let lines = node.log().lines();
    let inside = lines
        .iter()
        .skip_while(|line| !line.starts_with(&before))
        .skip(1);
    inside
        .take_while(|line| !line.starts_with(&after))
        .cloned()
        .collect()
}

/// Whether a takeover ended by its deadline, with some allowance for a busy machine.
fn is_within_deadline(end: &str) -> bool {
    let after = end
        .split("(after ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let seconds: Option<f64> = after.and_then(|seconds| seconds.parse().ok());
    // Under memcheck each step takes many times as long.
    memcheck::reports().is_some() || seconds.is_some_and(|seconds| seconds <= DEADLINE + 1.0)
}

impl Attack {
    /// `grown` is how much the master's memory grew at its peak, in KiB.
    fn complaints(&self, lines: &[String], grown: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        // Under memcheck most of it is memcheck's.
        if grown >= MAX_GROWTH && memcheck::reports().is_none() {
            complaints.push(format!("the master's memory grew by {grown} KiB"));
        }
        for line in lines.iter().filter(|line| !is_harmless(line)) {
            complaints.push(format!("this line was forged, or not cleaned: {line:?}"));
        }
        let ends: Vec<&String> = lines.iter().filter(|line| is_end(line)).collect();
        match ends[..] {
            [end] if self.is_expected(end) && is_within_deadline(end) => {}
            _ => complaints.push(format!("it ended like this: {ends:?}")),
        }
        complaints
    }

    fn is_expected(&self, end: &str) -> bool {
        let matches = |beginning: &str, part: &str| {
            end.starts_with(&format!("{OURS}{beginning}")) && end.contains(part)
        };
        match self.end {
            End::Routed(requests) => {
                matches("4.4.4.4 is routed to 1.1.1.1 (after ", "")
                    && end.ends_with(&format!(", {requests} requests)"))
            }
            End::Unconfirmed(part) => matches("WARNING 4.4.4.4 is routed to 1.1.1.1, ", part),
            End::Failed(part) => matches("ERROR 4.4.4.4 is not routed to 1.1.1.1: ", part),
        }
    }
}

fn is_end(line: &str) -> bool {
    let text = line.strip_prefix(OURS).unwrap_or_default();
    let text = text.strip_prefix("WARNING ").unwrap_or(text);
    text.starts_with("4.4.4.4 is routed") || text.starts_with("ERROR ")
}

/// A line about a takeover, from the plugin or from uWSGI, with printable characters only.
fn is_harmless(line: &str) -> bool {
    let begins = [
        "[hetzner-failoverip] 4.4.4.4 -> 1.1.1.1",
        "[hetzner-failoverip] 4.4.4.4 is routed to 1.1.1.1 (after ",
        "[hetzner-failoverip] WARNING 4.4.4.4 is routed to 1.1.1.1, unconfirmed: ",
        "[hetzner-failoverip] ERROR 4.4.4.4 is not routed to 1.1.1.1: ",
        "[hetzner] legion \"failover\": ", // the node's standing
        "[uwsgi-legion] (phase: lord legion: failover) calling ",
        "[uwsgi-legion] ERROR, lord hook returned: -1",
    ];
    let is_invisible = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')
    };
    begins.iter().any(|begin| line.starts_with(begin)) && !line.contains(is_invisible)
}
