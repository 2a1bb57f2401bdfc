//! Attacks by a webservice, one after the other on one node, each measured on its own.

use std::fmt::Write;

use testbed::robot::{Fault, Method, Robot, Settings, When};
use testbed::uwsgi::{Node, PATIENCE};

use crate::context::{Context, action, robot_with};
use crate::driver::{driven_node, wait_for_mark};
use crate::memcheck;

/// Short, and time enough for a lost answer, a question that is lost too, and another post.
const SHORT: &str = "timeout=1,deadline=6";
/// That deadline, in seconds.
const DEADLINE: f64 = 6.0;

/// By how much the master's memory may grow, the first takeover and all that it needs for good
/// included, in KiB.
const MOST: u64 = 4096;

const OURS: &str = "[hetzner-failoverip] ";

/// How an attacked takeover is to end.
pub enum End {
    /// Routed, after so many requests.
    Routed(usize),
    /// Done, but unconfirmed; the line has this in it.
    Unconfirmed(&'static str),
    /// Failed; the line has this in it.
    Failed(&'static str),
}

/// A takeover from a webservice that is up to something.
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

    /// The switch happens, and this comes instead of the answer to the `POST`.
    pub fn on_post(name: &str, fault: &Fault) -> Attack {
        Attack::new(&format!("{name} to a POST"), End::Routed(2), |robot| {
            let fault = Fault::ApplyThen(Box::new(fault.clone()));
            robot.order(When::Once(Method::Post), fault);
        })
    }

    /// The switch happens, but the answer is lost, and this comes when the `GET` asks.
    pub fn on_get(name: &str, fault: &Fault) -> Attack {
        Attack::new(&format!("{name} to a GET"), End::Routed(3), |robot| {
            let lost = Fault::ApplyThen(Box::new(Fault::Reset));
            robot.order(When::Once(Method::Post), lost);
            robot.order(When::Once(Method::Get), fault.clone());
        })
    }
}

/// Has the same in place of the answer to a `POST`, and to a `GET`: both times the takeover
/// finds out that the failover IP is its server's.
pub fn withstands(context: &Context, faults: &[(&str, Fault)]) {
    let both = faults
        .iter()
        .flat_map(|(name, fault)| [Attack::on_post(name, fault), Attack::on_get(name, fault)]);
    besiege(context, &both.collect::<Vec<_>>());
}

/// Runs one good takeover, then an attacked one for each. Every one has to end as it is to,
/// with little memory, and with lines that nobody could take for others.
pub fn besiege(context: &Context, attacks: &[Attack]) -> Node {
    let good = robot_without_limits();
    let mut config = driven_node()
        .line("legion-lord = failover mark:cold")
        .line(format!("legion-lord = failover {}", action(&good, SHORT)))
        .line("legion-lord = failover mark:0");
    for (number, attack) in attacks.iter().enumerate() {
        config = config
            .line(format!(
                "legion-lord = failover {}",
                action(&attack.robot, SHORT)
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

/// What the node wrote between a mark and the next.
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

/// Whether a takeover ended by its deadline, but for what a busy machine needs to notice.
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
    /// `grown` is by how much the master's memory has grown at most, in KiB.
    fn complaints(&self, lines: &[String], grown: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        // Under memcheck most of it is memcheck's.
        if grown >= MOST && memcheck::reports().is_none() {
            complaints.push(format!("the master's memory grew by {grown} KiB"));
        }
        for line in lines.iter().filter(|line| !is_harmless(line)) {
            complaints.push(format!("this line was forged, or not tidied up: {line:?}"));
        }
        let ends: Vec<&String> = lines.iter().filter(|line| is_end(line)).collect();
        match ends[..] {
            [end] if self.is_as_designed(end) && is_within_deadline(end) => {}
            _ => complaints.push(format!("it ended like this: {ends:?}")),
        }
        complaints
    }

    fn is_as_designed(&self, end: &str) -> bool {
        let says = |beginning: &str, part: &str| {
            end.starts_with(&format!("{OURS}{beginning}")) && end.contains(part)
        };
        match self.end {
            End::Routed(requests) => {
                says("4.4.4.4 is routed to 1.1.1.1 (after ", "")
                    && end.ends_with(&format!(", {requests} requests)"))
            }
            End::Unconfirmed(part) => says("WARNING 4.4.4.4 is routed to 1.1.1.1, ", part),
            End::Failed(part) => says("ERROR 4.4.4.4 is not routed to 1.1.1.1: ", part),
        }
    }
}

fn is_end(line: &str) -> bool {
    let text = line.strip_prefix(OURS).unwrap_or_default();
    let text = text.strip_prefix("WARNING ").unwrap_or(text);
    text.starts_with("4.4.4.4 is routed") || text.starts_with("ERROR ")
}

/// A line of a takeover, or of uWSGI about it, and nothing in it but characters that print.
fn is_harmless(line: &str) -> bool {
    let begins = [
        "[hetzner-failoverip] 4.4.4.4 -> 1.1.1.1",
        "[hetzner-failoverip] 4.4.4.4 is routed to 1.1.1.1 (after ",
        "[hetzner-failoverip] WARNING 4.4.4.4 is routed to 1.1.1.1, unconfirmed: ",
        "[hetzner-failoverip] ERROR 4.4.4.4 is not routed to 1.1.1.1: ",
        "[uwsgi-legion] (phase: lord legion: failover) calling ",
        "[uwsgi-legion] ERROR, lord hook returned: -1",
    ];
    let is_invisible = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')
    };
    begins.iter().any(|begin| line.starts_with(begin)) && !line.contains(is_invisible)
}
