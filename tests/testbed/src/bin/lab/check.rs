//! `--hetzner-check` where interfaces, source addresses and routes are real.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::network::{Namespace, Network};

use crate::host::{adapt, legion_ini};
use crate::service::{Kind, Service};
use crate::{Result, Tools};

/// The server that is checked.
const SERVER: usize = 1;

/// A condition, and the facts that are not `ok` then. Where the address is routed is not one of them.
struct Case {
    name: &'static str,
    begin: &'static str,
    end: &'static str,
    /// Fact, level and a part of the text.
    expected: &'static [(&'static str, &'static str, &'static str)],
}

const CASES: [Case; 4] = [
    Case {
        name: "nothing is wrong",
        begin: "link set lo up",
        end: "link set lo up",
        expected: &[],
    },
    Case {
        name: "the failover IP is not configured",
        begin: "address del 4.4.4.4/32 dev lo",
        end: "address add 4.4.4.4/32 dev lo",
        expected: &[("interface", "warning", "is not configured on any interface")],
    },
    Case {
        name: "the server sends from the failover IP, which is routed to another",
        begin: "route replace default via 2.2.2.254 src 4.4.4.4",
        end: "route replace default via 2.2.2.254",
        expected: &[
            ("service", "error", "it did not answer in time"),
            (
                "source",
                "warning",
                "from 4.4.4.4, which belongs to the failover IP",
            ),
        ],
    },
    Case {
        name: "no route leads to the webservice",
        begin: "route add unreachable 192.0.2.80",
        end: "route del unreachable 192.0.2.80",
        expected: &[
            ("service", "error", "No route to host"),
            ("source", "warning", "there is no route to it"),
        ],
    },
];

/// Tries all conditions. Returns for each its name and what the check found. Call it on a thread of its
/// own.
///
/// # Errors
/// A report is not as expected.
pub fn try_all(tools: &Tools) -> Result<Vec<(&'static str, String)>> {
    let network = Network::build()?;
    let service = Service::start(Kind::Robot, Duration::ZERO)?;
    let server = &network.servers[SERVER];
    let try_one = |case: &Case| {
        server.ip(case.begin)?;
        let (status, report) = check(tools, server, &service)?;
        server.ip(case.end)?;
        Ok((case.name, judge(case, status, &report)?))
    };
    CASES.iter().map(try_one).collect()
}

/// Runs the check. Returns its exit status and its report.
fn check(tools: &Tools, server: &Namespace, service: &Service) -> Result<(Option<i32>, Value)> {
    let directory = tempfile::tempdir()?;
    let ini = directory.path().join("uwsgi.ini");
    let plugins = format!("[uwsgi]\nplugins-dir = {}", tools.plugins.path().display());
    fs::write(
        &ini,
        legion_ini(service, SERVER, 5, 1).replacen("[uwsgi]", &plugins, 1),
    )?;
    let mut command = Command::new(&tools.uwsgi);
    command.arg("--ini").arg(&ini).arg("--hetzner-check-json");
    adapt(&mut command, server, service);
    let output = command.output()?;
    let report = serde_json::from_slice(&output.stdout).map_err(|error| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("the check printed no report: {error}\n{errors}")
    })?;
    Ok((output.status.code(), report))
}

/// What the check found, if it is what was expected.
fn judge(case: &Case, status: Option<i32>, report: &Value) -> Result<String> {
    let text = |fact: &Value, key: &str| fact[key].as_str().unwrap_or_default().to_owned();
    let facts = report["facts"]
        .as_array()
        .ok_or("the report has no facts")?;
    let found: Vec<[String; 3]> = (facts.iter())
        .map(|fact| ["fact", "level", "text"].map(|key| text(fact, key)))
        .filter(|[fact, level, _]| level != "ok" && fact != "route")
        .collect();
    let errors = case.expected.iter().any(|(_, level, _)| *level == "error");
    let is_expected = found.len() == case.expected.len()
        && (found.iter().zip(case.expected)).all(|([fact, level, text], expected)| {
            fact == expected.0 && level == expected.1 && text.contains(expected.2)
        });
    if !is_expected || status != Some(i32::from(errors)) {
        let name = case.name;
        return Err(format!("{name}: status {status:?}, unexpected report:\n{report:#}").into());
    }
    let found = found
        .iter()
        .map(|[_, level, text]| format!("{level}: {text}"));
    Ok(found.collect::<Vec<_>>().join("; "))
}
