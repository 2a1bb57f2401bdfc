//! What each answer means, over the table.

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
fn a_2xx_that_names_another_or_none_or_is_under_way_is_not_ours() {
    for (active, status) in [
        ("\"2.2.2.2\"", "\"ready\""),
        ("null", "\"ready\""),
        ("\"1.1.1.1\"", "\"processing\""),
    ] {
        let switch = switch(200, &routed_to(active, status));
        assert!(matches!(switch, Switch::NotOurs(_)), "{switch:?}");
    }
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
        ("", "points to nowhere:"),
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
