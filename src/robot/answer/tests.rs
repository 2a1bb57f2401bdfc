//! What each answer means, over the table.

#[path = "../../../fuzz/properties/answer.rs"]
mod properties;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const OURS: &str = "1.1.1.1";

fn with_reader<T>(read: impl FnOnce(&Reader) -> T) -> T {
    read(&Reader {
        failover_ip: "4.4.4.4".parse().unwrap(),
        ours: OURS.parse().unwrap(),
        secrets: &[b"s3cret"],
    })
}

fn answer(status: u16, body: &str) -> Answer<'_> {
    Answer {
        status,
        location: None,
        body: body.as_bytes(),
    }
}

fn switch(status: u16, body: &str) -> Switch {
    with_reader(|reader| reader.switch(&answer(status, body)))
}

fn route(status: u16, body: &str) -> Route {
    with_reader(|reader| reader.route(&answer(status, body)))
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
    assert!(matches!(switch(200, &ours), Switch::Routed));
    assert!(matches!(switch(202, &ours), Switch::Routed));
    let bare = r#"{"failover":{"active_server_ip":"1.1.1.1"}}"#;
    assert!(matches!(switch(200, bare), Switch::Routed));
}

#[test]
fn addresses_are_compared_as_addresses() {
    let reader = Reader {
        failover_ip: "2a01:4f8:fff1::".parse().unwrap(),
        ours: "2a01:4f8:d0a:2003::".parse().unwrap(),
        secrets: &[],
    };
    let body =
        r#"{"failover":{"ip":"2A01:04f8:fff1:0::","active_server_ip":"2a01:4f8:0d0a:2003:0:0::"}}"#;
    assert!(matches!(reader.switch(&answer(200, body)), Switch::Routed));
}

#[test]
fn a_2xx_that_names_another_or_none_is_elsewhere() {
    for active in ["\"2.2.2.2\"", "null"] {
        let switch = switch(200, &routed_to(active, "\"ready\""));
        assert!(matches!(switch, Switch::Elsewhere(..)), "{switch:?}");
    }
}

#[test]
fn a_2xx_that_is_under_way_is_unfinished() {
    for active in ["\"2.2.2.2\"", "null"] {
        let switch = switch(200, &routed_to(active, "\"processing\""));
        assert!(matches!(switch, Switch::Unfinished(_)), "{switch:?}");
    }
    let ours = switch(200, &routed_to("\"1.1.1.1\"", "\"processing\""));
    assert!(matches!(ours, Switch::Accepted(_)), "{ours:?}");
}

#[test]
fn a_2xx_without_a_readable_object_is_accepted() {
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
            matches!(switch(200, body), Switch::Accepted(_)),
            "{body:.40}"
        );
    }
    assert!(matches!(switch(204, ""), Switch::Accepted(_)));
}

#[test]
fn an_answer_about_another_failover_ip_is_refused() {
    let body = r#"{"failover":{"ip":"5.5.5.5","active_server_ip":"1.1.1.1"}}"#;
    assert!(matches!(
        switch(200, body),
        Switch::Refused(Problem::OtherIp { .. })
    ));
    assert!(matches!(
        route(200, body),
        Route::Refused(Problem::OtherIp { .. })
    ));
}

#[test]
fn conflicts_are_told_apart_by_their_code() {
    assert!(matches!(
        switch(409, &error("FAILOVER_ALREADY_ROUTED")),
        Switch::Routed
    ));
    assert!(matches!(
        switch(409, &error("FAILOVER_LOCKED")),
        Switch::Locked(_)
    ));
    assert!(matches!(
        switch(409, &error("CONFLICT")),
        Switch::Conflict(_)
    ));
    assert!(matches!(switch(409, "{}"), Switch::Accepted(_)));
    assert!(matches!(switch(409, ""), Switch::Accepted(_)));
}

#[test]
fn refusals_are_final() {
    for status in [301, 302, 304, 307, 308, 400, 401, 402, 404, 410, 418, 422] {
        let switch = switch(status, &error("X"));
        assert!(matches!(switch, Switch::Refused(_)), "{status}: {switch:?}");
    }
    assert!(matches!(
        switch(403, &error("FORBIDDEN")),
        Switch::Refused(_)
    ));
}

#[test]
fn rate_limits_say_their_numbers() {
    let body = r#"{"error":{"code":"RATE_LIMIT_EXCEEDED","max_request":50,"interval":"3600"}}"#;
    let Switch::RateLimited(problem) = switch(403, body) else {
        panic!("a rate limit");
    };
    assert!(
        problem.to_string().contains("50 requests in 3600 s"),
        "{problem}"
    );
    assert!(matches!(switch(429, ""), Switch::RateLimited(_)));
}

#[test]
fn a_5xx_is_failing() {
    for status in [500, 502, 503, 504, 599] {
        assert!(matches!(switch(status, &error("X")), Switch::Failing(_)));
    }
}

#[test]
fn a_route_is_what_the_answer_says() {
    assert!(matches!(
        route(200, &routed_to("\"1.1.1.1\"", "null")),
        Route::Ours
    ));
    let processing = routed_to("\"1.1.1.1\"", "\"processing\"");
    assert!(matches!(route(200, &processing), Route::Processing));
    let other = routed_to("\"2.2.2.2\"", "\"ready\"");
    assert!(matches!(route(200, &other), Route::Elsewhere(Some(_))));
    let none = routed_to("null", "\"ready\"");
    assert!(matches!(route(200, &none), Route::Elsewhere(None)));
}

#[test]
fn a_route_that_is_not_said_is_unusable_or_may_be_asked_again() {
    for status in [200, 204, 302, 403, 404, 405, 429] {
        assert!(
            matches!(route(status, "no"), Route::Unusable(_)),
            "{status}"
        );
    }
    for status in [500, 502, 503] {
        assert!(
            matches!(route(status, "no"), Route::Unanswered(_)),
            "{status}"
        );
    }
    assert!(matches!(route(401, ""), Route::Refused(Problem::Login)));
}

#[test]
fn a_redirect_names_the_host_alone() {
    for (location, host) in [
        (
            "https://a:s3cret@elsewhere.example:1/x?y",
            "points to elsewhere.example:",
        ),
        ("/there", "points to the same host:"),
        ("", "points to nowhere (it has no Location):"),
    ] {
        let answer = Answer {
            status: 302,
            location: Some(location),
            body: b"",
        };
        let Switch::Refused(problem) = with_reader(|reader| reader.switch(&answer)) else {
            panic!("a refusal");
        };
        assert!(problem.to_string().contains(host), "{problem}");
    }
}

#[test]
fn what_a_server_wrote_is_shown_without_secrets_and_control_characters() {
    let body = r#"{"error":{"code":"A\u0000B","message":"x\n[fake] s3\u0007cret","missing":["\u001b[2J"],"invalid":{"s3cret":1}}}"#;
    let Switch::Refused(problem) = switch(400, body) else {
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
    crate::corpus::replay("answer", properties::check);
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
        assert!(!matches!(switch(200, cut), Switch::Routed), "{cut}");
        assert!(!matches!(route(200, cut), Route::Ours), "{cut}");
    }
}

#[test]
fn an_array_is_no_object() {
    for body in [
        r#"[["4.4.4.4","ready","1.1.1.1"]]"#,
        r#"{"failover":["4.4.4.4","ready","1.1.1.1"]}"#,
        r#"[{"active_server_ip":"1.1.1.1"}]"#,
    ] {
        assert!(matches!(switch(200, body), Switch::Accepted(_)), "{body}");
        assert!(matches!(route(200, body), Route::Unusable(_)), "{body}");
    }
    let code = r#"[["FAILOVER_ALREADY_ROUTED"]]"#;
    assert!(matches!(switch(409, code), Switch::Accepted(_)));
}

#[test]
fn a_secret_within_an_object_is_masked() {
    let reader = Reader {
        failover_ip: "4.4.4.4".parse().unwrap(),
        ours: OURS.parse().unwrap(),
        secrets: &[br#"s3"cr\et"#],
    };
    let body = r#"{"error":{"code":"X","invalid":{"s3\u0007\"cr\\et":"s3\"cr\\et"}}}"#;
    let Switch::Refused(problem) = reader.switch(&answer(400, body)) else {
        panic!("a refusal");
    };
    assert!(!problem.to_string().contains("s3"), "{problem}");
}
