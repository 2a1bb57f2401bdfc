//! What each answer means, over the table.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::properties::{answer as properties, corpus};

const OURS: &str = "1.1.1.1";

fn reader(is_custom: bool) -> Reader<'static> {
    Reader {
        failover_ip: "4.4.4.4".parse().unwrap(),
        ours: OURS.parse().unwrap(),
        is_custom,
        sent_from: Some("9.9.9.9".parse().unwrap()),
        secrets: &[b"s3cret"],
    }
}

fn answer(status: u16, body: &str) -> Answer<'_> {
    Answer {
        status,
        location: None,
        body: body.as_bytes(),
    }
}

/// What an answer of Hetzner's own webservice to a `POST` means.
fn change(status: u16, body: &str) -> Change {
    reader(false).change(&answer(status, body))
}

/// The same of a custom endpoint.
fn custom_change(status: u16, body: &str) -> Change {
    reader(true).change(&answer(status, body))
}

/// What an answer of Hetzner's own webservice to a `GET` says.
fn look(status: u16, body: &str) -> Look {
    reader(false).look(&answer(status, body))
}

fn custom_look(status: u16, body: &str) -> Look {
    reader(true).look(&answer(status, body))
}

fn routed_to(active: &str, status: &str) -> String {
    format!(r#"{{"failover":{{"ip":"4.4.4.4","status":{status},"active_server_ip":{active}}}}}"#)
}

fn error(code: &str) -> String {
    format!(r#"{{"error":{{"status":409,"code":"{code}","message":"m"}}}}"#)
}

#[test]
fn a_2xx_that_names_our_server_is_routed() {
    let ours = routed_to("\"1.1.1.1\"", "\"ready\"");
    assert!(matches!(change(200, &ours), Change::Done));
    assert!(matches!(change(202, &ours), Change::Done));
    let bare = r#"{"failover":{"active_server_ip":"1.1.1.1"}}"#;
    assert!(matches!(change(200, bare), Change::Done));
}

#[test]
fn addresses_are_compared_as_addresses() {
    let reader = Reader {
        failover_ip: "2a01:4f8:fff1::".parse().unwrap(),
        ours: "2a01:4f8:d0a:2003::".parse().unwrap(),
        ..reader(false)
    };
    // Any address of our /64 is ours.
    for active in ["2a01:4f8:0d0a:2003:0:0::", "2a01:4f8:d0a:2003::2"] {
        let body = format!(
            r#"{{"failover":{{"ip":"2A01:04f8:fff1:0::","active_server_ip":"{active}"}}}}"#
        );
        assert!(matches!(reader.change(&answer(200, &body)), Change::Done));
        assert!(matches!(reader.look(&answer(200, &body)), Look::Ours));
    }
    let other = r#"{"failover":{"active_server_ip":"2a01:4f8:d0a:2004::"}}"#;
    assert!(matches!(
        reader.look(&answer(200, other)),
        Look::Elsewhere { .. }
    ));
}

#[test]
fn a_2xx_that_names_another_server_or_none_may_be_a_running_switch() {
    for active in ["\"2.2.2.2\"", "null"] {
        for status in ["\"ready\"", "\"processing\"", "null"] {
            let body = routed_to(active, status);
            assert!(matches!(change(200, &body), Change::Running(_)), "{body}");
            assert!(matches!(custom_change(200, &body), Change::Running(_)));
        }
    }
}

#[test]
fn a_2xx_that_names_our_server_and_is_under_way_is_not_done() {
    let ours = routed_to("\"1.1.1.1\"", "\"processing\"");
    assert!(matches!(change(200, &ours), Change::Running(_)));
    assert!(matches!(custom_change(200, &ours), Change::Accepted(_)));
}

#[test]
fn a_2xx_without_a_readable_object_is_accepted_only_by_a_custom_endpoint() {
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "ok",
        "{}",
        "[]",
        r#"{"failover":null}"#,
        r#"{"failover":{}}"#,
        r#"{"failover":{"active_server_ip":7}}"#,
        r#"{"failover":{"active_server_ip":"1.1.1.1.1"}}"#,
        &deep,
    ] {
        assert!(
            matches!(change(200, body), Change::Running(_)),
            "{body:.40}"
        );
        assert!(matches!(custom_change(200, body), Change::Accepted(_)));
        assert!(matches!(look(200, body), Look::Unanswered(_)), "{body:.40}");
        assert!(matches!(custom_look(200, body), Look::Unsupported(_)));
    }
    assert!(matches!(custom_change(204, ""), Change::Accepted(_)));
}

#[test]
fn an_answer_about_another_failover_ip_is_refused() {
    let body = r#"{"failover":{"ip":"5.5.5.5","active_server_ip":"1.1.1.1"}}"#;
    assert!(matches!(change(200, body), Change::Refused(_)));
    assert!(matches!(look(200, body), Look::Refused(_)));
}

#[test]
fn an_answer_about_the_subnet_of_our_failover_ip_says_what_to_write() {
    let body =
        r#"{"failover":{"ip":"4.4.4.0","netmask":"255.255.255.248","active_server_ip":"1.1.1.1"}}"#;
    let (Change::Refused(posted), Look::Refused(asked)) = (change(200, body), look(200, body))
    else {
        panic!("a refusal");
    };
    assert!(posted.to_string().contains("write ip=4.4.4.0"), "{posted}");
    assert_eq!(posted, asked);
    let other =
        r#"{"failover":{"ip":"4.4.5.0","netmask":"255.255.255.248","active_server_ip":"1.1.1.1"}}"#;
    let Change::Refused(problem) = change(200, other) else {
        panic!("a refusal");
    };
    assert!(problem.to_string().contains("for 4.4.5.0"), "{problem}");
}

#[test]
fn conflicts_are_told_apart_by_their_code() {
    assert!(matches!(
        change(409, &error("FAILOVER_LOCKED")),
        Change::Running(_)
    ));
    assert!(matches!(
        change(409, &error("CONFLICT")),
        Change::Failing(_)
    ));
    for body in ["{}", ""] {
        assert!(matches!(change(409, body), Change::Failing(_)));
        assert!(matches!(custom_change(409, body), Change::Accepted(_)));
    }
}

#[test]
fn already_routed_is_done_with_whatever_status() {
    for status in [200, 302, 400, 401, 403, 404, 409, 422, 500] {
        assert!(matches!(
            change(status, &error("FAILOVER_ALREADY_ROUTED")),
            Change::Done
        ));
    }
}

#[test]
fn refusals_are_final() {
    for status in [301, 302, 304, 307, 308, 400, 401, 402, 404, 410, 418, 422] {
        let switch = change(status, &error("X"));
        assert!(matches!(switch, Change::Refused(_)), "{status}: {switch:?}");
    }
    assert!(matches!(
        change(403, &error("FORBIDDEN")),
        Change::Refused(_)
    ));
}

#[test]
fn a_rate_limit_says_its_numbers_in_either_spelling() {
    for member in ["max_request", "max_requests"] {
        let body = format!(
            r#"{{"error":{{"code":"RATE_LIMIT_EXCEEDED","{member}":50,"interval":"3600"}}}}"#
        );
        let Change::Limited(problem) = change(403, &body) else {
            panic!("a rate limit");
        };
        assert!(
            problem.to_string().contains("50 requests in 3600 s"),
            "{problem}"
        );
    }
    assert!(matches!(change(429, ""), Change::Limited(_)));
    let limited = error("RATE_LIMIT_EXCEEDED");
    assert!(matches!(look(403, &limited), Look::Unanswered(_)));
    assert!(matches!(custom_look(403, &limited), Look::Unanswered(_)));
}

#[test]
fn a_403_without_an_error_object_means_that_the_address_is_blocked() {
    for body in ["", "<html>no</html>", "{}", r#"{"error":"no"}"#] {
        let Change::Limited(problem) = change(403, body) else {
            panic!("{body}");
        };
        let text = problem.to_string();
        assert!(text.contains("blocked for some minutes"), "{text}");
        assert!(text.contains("sent from 9.9.9.9"), "{text}");
        assert!(matches!(look(403, body), Look::Unanswered(_)));
    }
}

#[test]
fn a_refusal_because_of_the_address_names_it() {
    for (status, code) in [(401, "UNAUTHORIZED"), (403, "FORBIDDEN")] {
        let Change::Refused(problem) = change(status, &error(code)) else {
            panic!("a refusal");
        };
        assert!(problem.to_string().contains("9.9.9.9"), "{problem}");
    }
}

#[test]
fn a_5xx_is_failing() {
    for status in [500, 502, 503, 504, 599] {
        assert!(matches!(change(status, &error("X")), Change::Failing(_)));
    }
}

#[test]
fn a_route_is_what_the_answer_says() {
    assert!(matches!(
        look(200, &routed_to("\"1.1.1.1\"", "null")),
        Look::Ours
    ));
    let processing = routed_to("\"1.1.1.1\"", "\"processing\"");
    assert!(matches!(look(200, &processing), Look::Changing));
    for (active, to) in [("\"2.2.2.2\"", Some("2.2.2.2")), ("null", None)] {
        for (status, is_settled) in [("\"ready\"", true), ("null", false), ("\"x\"", false)] {
            let Look::Elsewhere { to: found, settled } = look(200, &routed_to(active, status))
            else {
                panic!("{active} {status}");
            };
            assert_eq!((found.as_deref(), settled), (to, is_settled));
        }
    }
}

#[test]
fn a_route_that_is_not_reported_is_unsupported_only_by_a_custom_endpoint() {
    for status in [200, 204, 302, 400, 403, 404, 405, 501] {
        assert!(
            matches!(custom_look(status, "no"), Look::Unsupported(_)),
            "{status}"
        );
    }
    for status in [200, 204, 400, 403, 404, 405, 429, 500, 501, 502, 503] {
        assert!(
            matches!(look(status, "no"), Look::Unanswered(_)),
            "{status}"
        );
    }
    for status in [429, 500, 502, 503] {
        assert!(matches!(custom_look(status, "no"), Look::Unanswered(_)));
    }
    assert!(matches!(look(401, ""), Look::Refused(_)));
    assert!(matches!(custom_look(401, ""), Look::Refused(_)));
    assert!(matches!(look(302, ""), Look::Refused(_)));
    assert!(matches!(look(404, &error("NOT_FOUND")), Look::Refused(_)));
}

#[test]
fn a_redirect_names_the_host_alone() {
    for (location, host) in [
        (
            "https://a:s3cret@elsewhere.example:1/x?y",
            "a redirect to elsewhere.example;",
        ),
        ("/there", "a redirect to the same host;"),
        ("", "a redirect without a target:"),
        ("https://not a host/", "a redirect without a target:"),
    ] {
        let answer = Answer {
            status: 302,
            location: Some(location),
            body: b"",
        };
        let Change::Refused(problem) = reader(false).change(&answer) else {
            panic!("a refusal");
        };
        assert!(problem.to_string().contains(host), "{problem}");
    }
}

#[test]
fn what_a_server_wrote_is_shown_without_secrets_and_control_characters() {
    let body = r#"{"error":{"code":"A\u0000B","message":"x\n[fake] s3\u0007cret","missing":["\u001b[2J"],"invalid":{"s3cret":1}}}"#;
    let Change::Refused(problem) = change(400, body) else {
        panic!("a refusal");
    };
    let text = problem.to_string();
    assert!(text.contains("AB (x[fake] ***)"), "{text}");
    assert!(
        !text.contains("s3cret") && !text.contains(char::is_control),
        "{text}"
    );
}

#[test]
fn the_corpus_holds() {
    corpus::replay("answer", properties::check);
}

/// A status that the webservice has, or any.
fn any_status() -> impl Strategy<Value = u16> {
    let known = [200, 204, 301, 400, 401, 403, 404, 409, 429, 500, 503];
    prop_oneof![4 => prop::sample::select(known.to_vec()), 1 => any::<u16>()]
}

/// A value of the webservice's, or something else in its place.
fn any_value() -> impl Strategy<Value = Value> {
    let known = [
        "4.4.4.4",
        "1.1.1.1",
        "2.2.2.2",
        "::ffff:1.1.1.1",
        "ready",
        "processing",
        "FAILOVER_ALREADY_ROUTED",
        "FAILOVER_LOCKED",
        "RATE_LIMIT_EXCEEDED",
        "s3cret",
        "zPq7horse",
        "zPq7\0horse",
        "\u{1b}[2J\n[hetzner-failoverip] done",
    ];
    let leaf = prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |value| {
        prop_oneof![
            vec(value.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), value), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// One of the webservice's objects, any of its members missing.
fn any_body() -> impl Strategy<Value = Value> {
    let keys = [
        "ip",
        "status",
        "active_server_ip",
        "code",
        "message",
        "missing",
        "invalid",
        "max_request",
        "interval",
    ];
    let members =
        vec((prop::sample::select(keys.to_vec()), any_value()), 0..6).prop_map(|members| {
            let members = members.into_iter().map(|(key, value)| (key.into(), value));
            Value::Object(members.collect())
        });
    let object = prop_oneof![8 => members, 1 => any_value()];
    (
        prop::sample::select(vec!["failover", "error", "other"]),
        object,
    )
        .prop_map(|(name, object)| serde_json::json!({ name: object }))
}

proptest! {
    #[test]
    fn any_bytes_are_read(
        status in any_status(),
        location in prop::option::of(any::<String>()),
        body in vec(any::<u8>(), 0..200),
    ) {
        let location = location.as_deref();
        properties::check_answer(&Answer { status, location, body: &body });
    }

    #[test]
    fn any_object_is_read(status in any_status(), body in any_body()) {
        let body = body.to_string();
        properties::check_answer(&answer(status, &body));
    }
}

#[test]
fn an_answer_that_was_cut_is_never_ours() {
    let whole = routed_to("\"1.1.1.1\"", "\"ready\"");
    for length in 0..whole.len() {
        let cut = &whole[..length];
        assert!(!matches!(change(200, cut), Change::Done), "{cut}");
        assert!(!matches!(look(200, cut), Look::Ours), "{cut}");
    }
}

#[test]
fn an_array_is_no_object() {
    for body in [
        r#"[["4.4.4.4","ready","1.1.1.1"]]"#,
        r#"{"failover":["4.4.4.4","ready","1.1.1.1"]}"#,
        r#"[{"active_server_ip":"1.1.1.1"}]"#,
    ] {
        assert!(matches!(change(200, body), Change::Running(_)), "{body}");
        assert!(matches!(look(200, body), Look::Unanswered(_)), "{body}");
        assert!(matches!(custom_change(200, body), Change::Accepted(_)));
    }
    let code = r#"[["FAILOVER_ALREADY_ROUTED"]]"#;
    assert!(matches!(change(409, code), Change::Failing(_)));
}

#[test]
fn a_secret_within_an_object_is_masked() {
    let reader = Reader {
        secrets: &[br#"s3"cr\et"#],
        ..reader(false)
    };
    let body = r#"{"error":{"code":"X","invalid":{"s3\u0007\"cr\\et":"s3\"cr\\et"}}}"#;
    let Change::Refused(problem) = reader.change(&answer(400, body)) else {
        panic!("a refusal");
    };
    assert!(!problem.to_string().contains("s3"), "{problem}");
}
