//! Properties of the meaning of an answer.

use std::net::IpAddr;

use serde_json::Value;

use crate::provider::robot::answer::{Answer, Reader};
use crate::takeover::{Change, Look, Problem};

const FAILOVER_IP: &str = "4.4.4.4";
const OURS: &str = "1.1.1.1";

/// The password, and `FOO:` and the password in base64.
const SECRETS: [&str; 2] = ["zPq7horse", "Rk9POnpQcTdob3JzZQ=="];

/// A text has at most six pieces that a server wrote, of 203 characters each.
const LONGEST: usize = 2000;

/// `input` is an answer in a form that a person can write: the first line is the status and, after
/// a space, the `Location` header; the rest is the body.
///
/// # Panics
/// Something is not true of this answer.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |&byte| byte == b'\n');
    let (head, body) = (
        String::from_utf8_lossy(parts.next().unwrap_or_default()),
        parts.next().unwrap_or_default(),
    );
    let (status, location) = match head.split_once(' ') {
        Some((status, location)) => (status, Some(location)),
        None => (&*head, None),
    };
    check_answer(&Answer {
        status: status.parse().unwrap_or(200),
        location,
        body,
    });
}

/// # Panics
/// Something is not true of this answer.
pub fn check_answer(answer: &Answer) {
    let secrets = SECRETS.map(str::as_bytes);
    for is_custom in [false, true] {
        let reader = Reader {
            failover_ip: address(FAILOVER_IP),
            ours: address(OURS),
            is_custom,
            sent_from: None,
            secrets: &secrets,
        };
        let change = reader.change(answer);
        let is_done = matches!(change, Change::Done);
        assert!(!is_done || says_ours(answer) || says_already_routed(answer));
        problem_of_change(&change).into_iter().for_each(check_text);

        let look = reader.look(answer);
        let is_ours = matches!(look, Look::Ours);
        assert!(!is_ours || says_ours(answer));
        problem_of_look(&look).into_iter().for_each(check_text);
    }
}

/// No text may contain a secret, or anything that is dangerous in a log.
fn check_text(problem: &Problem) {
    let text = problem.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(
        !SECRETS.iter().any(|secret| text.contains(secret)),
        "{text:?}"
    );
    assert!(text.chars().count() <= LONGEST, "{text:?}");
}

/// Whether the answer is a success whose object names our failover IP or no address at all, our
/// server, and no switch that is still running.
fn says_ours(answer: &Answer) -> bool {
    let member = |key: &str| member(answer.body, &format!("/failover/{key}"));
    let names = |key, wanted| {
        let member = member(key);
        member.as_str().and_then(|text| text.parse().ok()) == Some(address(wanted))
    };
    (200..300).contains(&answer.status)
        && names("active_server_ip", OURS)
        && (member("ip").is_null() || names("ip", FAILOVER_IP))
        && member("status") != "processing"
}

fn says_already_routed(answer: &Answer) -> bool {
    member(answer.body, "/error/code") == "FAILOVER_ALREADY_ROUTED"
}

/// A member of a JSON text, or null.
fn member(text: &[u8], pointer: &str) -> Value {
    let body: Value = serde_json::from_slice(text).unwrap_or_default();
    body.pointer(pointer).cloned().unwrap_or_default()
}

fn problem_of_change(change: &Change) -> Option<&Problem> {
    match change {
        Change::Done | Change::Found | Change::Outdated => None,
        Change::Running(problem)
        | Change::Accepted(problem)
        | Change::Failing(problem)
        | Change::Unready(problem)
        | Change::Limited(problem)
        | Change::Refused(problem)
        | Change::NotConnected(problem) => Some(problem),
    }
}

fn problem_of_look(look: &Look) -> Option<&Problem> {
    match look {
        Look::Ours | Look::Changing | Look::HalfDone | Look::Elsewhere { .. } => None,
        Look::Unanswered(problem)
        | Look::NotConnected(problem)
        | Look::Failed(problem)
        | Look::Unsupported(problem)
        | Look::Refused(problem) => Some(problem),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
