//! What is printed about a round.

use std::fmt::Write as _;
use std::time::Instant;

use crate::round::Round;
use crate::timeline::since;

/// One line.
pub fn summary(round: &Round) -> String {
    let (service, seed) = (round.plan.setup.service.name(), round.plan.seed);
    let requests = round.cluster.service.requests();
    let posts = requests.iter().filter(|request| request.is_post).count();
    let (steps, gets) = (round.plan.steps.len(), requests.len() - posts);
    let end = match (round.rules.violations.first(), round.settled) {
        (Some(violation), _) => format!("FAILED: {}", violation.rule),
        (None, Some(settled)) => format!("at rest {:.1} s after it", settled.as_secs_f64()),
        (None, None) => "not at rest".into(),
    };
    format!("{service} seed {seed}: {steps} steps, {posts} POSTs, {gets} GETs, {end}")
}

/// Everything: what did not hold, the steps, and the logs of all nodes by time.
pub fn failure(round: &Round) -> String {
    let (plan, start) = (&round.plan, round.start);
    let name = plan.setup.service.name();
    let mut text = format!(
        "==== {name} seed {}: make nemesis SERVICE={name} ROUNDS=1 NODES={} SEED={}\n{:?}\n",
        plan.seed, plan.setup.nodes, plan.seed, plan.setup
    );
    for violation in &round.rules.violations {
        let at = since(start, violation.at);
        let _ = writeln!(text, "VIOLATION {at:7.2}  {}", violation.rule);
    }
    for step in &plan.steps {
        let _ = writeln!(text, "{step}");
    }
    let mut lines: Vec<(Instant, String, String)> = Vec::new();
    for node in 0..plan.setup.nodes {
        for log in round.cluster.logs(node) {
            lines.extend(
                told(log.timed_lines()).map(|(at, line)| (at, format!("node {node}"), line)),
            );
        }
    }
    let service = round.cluster.timeline.lines().into_iter();
    lines.extend(service.map(|(at, line)| (at, "service".into(), line)));
    for step in &plan.steps {
        for (at, verb) in [(step.at, "begins"), (step.at + step.lasts, "ends")] {
            lines.push((
                start + at,
                "STEP  ".into(),
                format!("{verb}: {:?}", step.fault),
            ));
        }
    }
    let violations = round.rules.violations.iter();
    lines.extend(
        violations.map(|violation| (violation.at, "BROKEN".into(), violation.rule.clone())),
    );
    lines.sort_by_key(|(at, ..)| *at);
    for (at, who, line) in &lines {
        let _ = writeln!(text, "{:8.2} {who} {line}", since(start, *at));
    }
    text
}

/// Without what uWSGI says about itself at each start, and again and again.
fn told(lines: Vec<(Instant, String)>) -> impl Iterator<Item = (Instant, String)> {
    const AGAIN: [&str; 2] = ["[uwsgi-legion-node]", "END OF QUORUM REPORT"];
    let mut is_starting = true;
    lines.into_iter().filter(move |(_, line)| {
        let is_kept = !is_starting || line.contains("hetzner") || line.contains("master process");
        if line.contains("spawned uWSGI worker") {
            is_starting = false;
        } else if line.contains("binary reloading uWSGI") {
            is_starting = true;
        }
        is_kept && !AGAIN.iter().any(|part| line.contains(part))
    })
}
