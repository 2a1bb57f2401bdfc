//! A webservice that tries to forge log lines: what it sends stays within its line.

use serde_json::{Value, json};
use testbed::robot::{Fault, Method, When};

use crate::Test;
use crate::attacks::{Attack, End, run_attacks};
use crate::context::Context;

pub const TESTS: &[Test] = tests![
    injection_by_an_error,
    injection_by_a_rate_limit,
    injection_by_an_error_that_is_retried,
    injection_by_a_failover_object,
    injection_by_a_redirect,
    injection_by_a_reason_phrase,
    injection_by_the_answer_to_a_get,
    injection_of_what_is_no_utf8
];

/// Line ends, control sequences, `printf` directives, and characters that change how text looks.
const EVIL: &str = "x\n[hetzner-failoverip] 4.4.4.4 is routed to 1.1.1.1 (after 0.1 s, 1 request)\r\n\
                    FORGED\u{1b}[2J\u{1b}]0;t\u{7}\u{8}\0 %n%s%9999d \u{202e}\u{2028}\u{85}\u{9b}31m\u{7f}end";
/// What is left of it in the log.
const TAMED: &str = "(after 0.1 s, 1 request)FORGED[2J]0;t %n%s%9999d 31mend";

fn answer(status: u16, body: &Value) -> Fault {
    raw_answer(status, body.to_string())
}

fn raw_answer(status: u16, body: impl Into<Vec<u8>>) -> Fault {
    Fault::Answer {
        status,
        headers: Vec::new(),
        body: body.into(),
    }
}

/// The fault replaces the answer to the first `POST`, and nothing is switched.
fn on_post(name: impl Into<String>, end: End, fault: Fault) -> Attack {
    Attack::new(&name.into(), end, |robot| {
        robot.order(When::Once(Method::Post), fault);
    })
}

/// An error object with this field, in every shape that a value can have.
fn errors(status: u16, code: &str, field: &str) -> Vec<(String, Fault)> {
    let shapes = [json!(EVIL), json!([EVIL, [EVIL]]), json!({ EVIL: EVIL })];
    let errors = shapes.into_iter().enumerate().map(|(number, value)| {
        let mut error = json!({"status": status, "code": code, "message": "m"});
        error[field] = value;
        let fault = answer(status, &json!({ "error": error }));
        (format!("{field} of {status}, shape {number}"), fault)
    });
    errors.collect()
}

fn injection_by_an_error(context: &Context) {
    let errors = ["code", "message", "missing", "invalid"].map(|field| errors(400, "X", field));
    let attacks = errors.into_iter().flatten();
    let attacks = attacks.map(|(name, fault)| on_post(name, End::Failed("%n%s%9999d"), fault));
    let attacks: Vec<Attack> = attacks.collect();
    let node = run_attacks(context, &attacks);
    let log = node.log();
    assert_eq!(log.count(TAMED), attacks.len(), "{}", log.text());
}

fn injection_by_a_rate_limit(context: &Context) {
    let fields = ["message", "max_request", "interval"];
    let errors = fields.map(|field| errors(403, "RATE_LIMIT_EXCEEDED", field));
    let more = fields.map(errors_of_429);
    let attacks = errors.into_iter().chain(more).flatten();
    let attacks = attacks.map(|(name, fault)| on_post(name, End::Failed("%n%s%9999d"), fault));
    run_attacks(context, &attacks.collect::<Vec<_>>());
}

fn errors_of_429(field: &str) -> Vec<(String, Fault)> {
    errors(429, EVIL, field)
}

fn injection_by_an_error_that_is_retried(context: &Context) {
    let errors = [
        errors(409, "X", "code"),
        errors(503, "X", "message"),
        errors(599, "X", "invalid"),
    ];
    let texts = errors
        .into_iter()
        .filter_map(|errors| errors.into_iter().next());
    let attacks = texts.map(|(name, fault)| on_post(name, End::Routed(3), fault));
    let node = run_attacks(context, &attacks.collect::<Vec<_>>());
    assert_eq!(node.log().count(TAMED), 3, "{}", node.log().text());
}

fn injection_by_a_failover_object(context: &Context) {
    let object = |field: &str| {
        let mut object = json!({"ip": "4.4.4.4", "status": "ready", "active_server_ip": "1.1.1.1"});
        object[field] = json!(EVIL);
        answer(200, &json!({ "failover": object }))
    };
    run_attacks(
        context,
        &[
            on_post("failover.ip", End::Routed(3), object("ip")),
            on_post(
                "active_server_ip",
                End::Routed(3),
                object("active_server_ip"),
            ),
        ],
    );
}

fn redirect_to(location: &[u8]) -> Fault {
    let head = [
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ",
        location,
        b"\r\n\r\n",
    ];
    Fault::Raw(head.concat())
}

fn injection_by_a_redirect(context: &Context) {
    let end = || End::Failed("the webservice answered 302, a redirect ");
    let seen = |location: &[u8]| on_post("a redirect", end(), redirect_to(location));
    // A header must not contain these, so there is no answer.
    let lost = |location: &[u8]| on_post("no redirect", End::Routed(3), redirect_to(location));
    run_attacks(
        context,
        &[
            seen(b"https://%n%s%9999d/"),
            seen(b"https://a%0a%0dFORGED%1b[2J/"),
            seen(b"https://\xe2\x80\xae\xff\xfe.example/"),
            seen(b"https://a.example/\xe2\x80\xae\xc2\x9b31m"),
            seen(b"\xc2\x85FORGED"),
            seen(b"https://FOO:BAR@a.example/"),
            seen("https://a.example/".repeat(3000).as_bytes()),
            lost(b"https://a\x1b[2J.example/"),
            lost(b"https://a\0.example/"),
            lost(b"https://a\x7f.example/\x08"),
            lost(b"https://a\rFORGED.example/"),
        ],
    );
}

fn injection_by_a_reason_phrase(context: &Context) {
    let attack = |phrase: &[u8]| {
        let fault =
            Fault::Raw([b"HTTP/1.1 503 ", phrase, b"\r\nContent-Length: 0\r\n\r\n"].concat());
        on_post("a reason phrase", End::Routed(3), fault)
    };
    run_attacks(
        context,
        &[
            attack(b"%n%s%9999d"),
            attack(b"\x1b[2JFORGED"),
            attack(b"\xff\xfe \xe2\x80\xae"),
            attack(b"x\rFORGED\0"),
            attack(b"x\nFORGED"),
            attack(&[b'x'; 60_000]),
        ],
    );
}

fn injection_by_the_answer_to_a_get(context: &Context) {
    let accepted = |name: &str, end: End, when: When, fault: Fault| {
        Attack::new(name, end, |robot| {
            let accepted = Fault::ApplyThen(Box::new(raw_answer(200, "ok")));
            robot.order(When::Once(Method::Post), accepted);
            robot.order(when, fault);
        })
    };
    let error = |status| answer(status, &json!({"error": {"code": EVIL, "message": EVIL}}));
    let other = answer(
        200,
        &json!({"failover": {"ip": EVIL, "active_server_ip": null}}),
    );
    let (once, always) = (When::Once(Method::Get), When::Always(Method::Get));
    let node = run_attacks(
        context,
        &[
            accepted("a 404", End::Unconfirmed(TAMED), once, error(404)),
            accepted("a 403", End::Routed(3), once, error(403)),
            accepted("a 503", End::Routed(3), once, error(503)),
            accepted("a 503 forever", End::Failed(TAMED), always, error(503)),
            accepted(
                "no ip",
                End::Unconfirmed("without saying where"),
                once,
                other,
            ),
            accepted(
                "a redirect",
                End::Unconfirmed("302, a redirect "),
                once,
                redirect_to(b"https://%n%s\xe2\x80\xae/"),
            ),
        ],
    );
    assert!(
        node.log().contains("not yet confirmed: "),
        "{}",
        node.log().text()
    );
}

/// JSON is UTF-8. Anything else is not JSON, and is not shown.
fn injection_of_what_is_no_utf8(context: &Context) {
    let evil = b"\xff\xfe\xc0\xaf\xed\xa0\x80\x9b2J\x80FORGED";
    let error = |before: &str| [before.as_bytes(), evil, b"\"}}"].concat();
    let fields = [
        "code",
        "message",
        "missing",
        "invalid",
        "max_request",
        "interval",
    ];
    let mut attacks: Vec<Attack> = fields
        .iter()
        .flat_map(|field| [400, 429].map(|status| (field, status)))
        .map(|(field, status)| {
            let body = error(&format!("{{\"error\":{{\"{field}\":\""));
            on_post(
                *field,
                End::Failed("the webservice"),
                raw_answer(status, body),
            )
        })
        .collect();
    for field in ["ip", "active_server_ip", "status"] {
        let body = error(&format!("{{\"failover\":{{\"{field}\":\""));
        attacks.push(on_post(field, End::Routed(3), raw_answer(200, body)));
    }
    let node = run_attacks(context, &attacks);
    assert!(!node.log().contains("FORGED"), "{}", node.log().text());
}
