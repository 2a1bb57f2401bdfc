//! What each answer means, over the table.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TOKEN: &str = "zPq7horse";

fn read(status: u16, body: &str) -> Option<Trouble> {
    read_with(status, body.as_bytes(), None, None)
}

fn read_with(
    status: u16,
    body: &[u8],
    location: Option<&str>,
    correlation_id: Option<&str>,
) -> Option<Trouble> {
    let secrets = [TOKEN.as_bytes()];
    let reader = Reader { secrets: &secrets };
    reader.trouble(&Answer {
        status,
        location,
        correlation_id,
        body,
    })
}

fn error(code: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"why"}}}}"#)
}

#[track_caller]
fn trouble(status: u16, body: &str) -> (Kind, String) {
    let trouble = read(status, body).unwrap();
    (trouble.kind, trouble.problem.to_string())
}

#[test]
fn each_code_means_what_the_table_says() {
    use Kind::{Final, Limited, Passing, Token};
    for (status, code, kind, remedy) in [
        (400, "json_error", Final, ""),
        (401, "unauthorized", Token, "check token or token_file"),
        (401, "token_readonly", Token, "permission read & write"),
        (403, "forbidden", Final, "Cloud Console"),
        (
            403,
            "resource_limit_exceeded",
            Final,
            "limit of the project",
        ),
        (403, "maintenance", Passing, ""),
        (404, "not_found", Final, "the token is one of the project"),
        (405, "method_not_allowed", Final, "check endpoint"),
        (409, "uniqueness_error", Final, ""),
        (409, "conflict", Passing, ""),
        (410, "deprecated_api_endpoint", Final, "update this plugin"),
        (412, "resource_unavailable", Passing, ""),
        (422, "invalid_input", Final, "check ip, server and network"),
        (422, "unsupported_error", Final, ""),
        (422, "service_error", Passing, ""),
        (422, "floating_ip_assigned", Final, ""),
        (422, "ip_not_available", Passing, ""),
        (422, "no_subnet_available", Passing, ""),
        (423, "protected", Final, "remove the protection"),
        (423, "locked", Passing, "another action is running"),
        (429, "rate_limit_exceeded", Limited, ""),
        (500, "server_error", Passing, ""),
        (502, "bad_gateway", Passing, ""),
        (503, "unavailable", Passing, ""),
        (504, "timeout", Passing, ""),
    ] {
        let (found, text) = trouble(status, &error(code));
        assert_eq!(found, kind, "{code}");
        let shown = format!("{status} {code} (why)");
        assert!(text.contains(&shown) && text.contains(remedy), "{text}");
        // Whatever the status is.
        assert_eq!(trouble(400, &error(code)).0, kind, "{code}");
        let is_fault = read(status, &error(code)).unwrap().is_fault;
        assert_eq!(is_fault, status >= 500);
    }
}

#[test]
fn without_a_known_code_the_status_decides() {
    for (status, kind) in [
        (400, Kind::Final),
        (401, Kind::Token),
        (403, Kind::Final),
        (404, Kind::Final),
        (405, Kind::Final),
        (408, Kind::Passing),
        (409, Kind::Passing),
        (410, Kind::Final),
        (412, Kind::Passing),
        (418, Kind::Final),
        (422, Kind::Final),
        (423, Kind::Passing),
        (429, Kind::Limited),
        (500, Kind::Passing),
        (502, Kind::Passing),
        (503, Kind::Passing),
        (504, Kind::Passing),
        (599, Kind::Passing),
        (100, Kind::Passing),
        (700, Kind::Passing),
    ] {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            "null",
            r#"{"error":null}"#,
            r#"{"error":"locked"}"#,
            r#"{"error":{"code":7,"message":[]}}"#,
            r#"{"error":{"code":"something_new"}}"#,
            &"[".repeat(100_000),
        ] {
            let (found, text) = trouble(status, body);
            assert_eq!(found, kind, "{status} {body:.40}");
            assert!(text.contains(&status.to_string()), "{text}");
        }
    }
}

#[test]
fn a_success_is_no_trouble_whatever_its_body() {
    for status in [200, 201, 204] {
        assert!(read(status, &error("locked")).is_none());
    }
}

#[test]
fn captured_answers_are_read() {
    let body = r#"{"error":{"code":"unauthorized","details":null,"message":"token is required"}}"#;
    let (kind, text) = trouble(401, body);
    assert_eq!(kind, Kind::Token);
    let expected = "the Cloud API refused the token (401 unauthorized (token is required)): check \
                    token or token_file";
    assert_eq!(text, expected);
}

#[test]
fn a_redirect_names_the_host_that_would_have_got_the_token() {
    for (location, expected) in [
        (
            Some("https://other.example/v1"),
            "a redirect to other.example;",
        ),
        (Some("/login"), "a redirect to the same host;"),
        (None, "a redirect without a target"),
        (Some("\u{1b}"), "a redirect without a target"),
    ] {
        let trouble = read_with(302, b"", location, None).unwrap();
        assert_eq!(trouble.kind, Kind::Final);
        let text = trouble.problem.to_string();
        assert!(
            text.contains(expected) && text.contains("check endpoint"),
            "{text}"
        );
    }
    let to = Some("https://other.example/v1");
    let trouble = read_with(302, b"", to, Some("c1\n0d")).unwrap();
    let text = trouble.problem.to_string();
    let expected =
        "the Cloud API answered 302, X-Correlation-Id c10d, a redirect to other.example;";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn fields_announcements_and_correlation_ids_are_shown() {
    let body = r#"{"error":{"code":"invalid_input","message":"m","details":{"fields":[
        {"name":"server","messages":["is missing","is bad"]},{"name":"network"},7]}}}"#;
    let (_, text) = trouble(422, body);
    assert!(
        text.contains("[server: is missing is bad, network, ?]"),
        "{text}"
    );
    let body = r#"{"error":{"code":"deprecated_api_endpoint","message":"m",
        "details":{"announcement":"https://docs.hetzner.cloud/changelog"}}}"#;
    let (_, text) = trouble(410, body);
    assert!(
        text.contains("[https://docs.hetzner.cloud/changelog]"),
        "{text}"
    );
    let answer = read_with(503, error("unavailable").as_bytes(), None, Some("c1\n0d"));
    let text = answer.unwrap().problem.to_string();
    assert_eq!(
        text,
        "the Cloud API answered 503 unavailable (why), X-Correlation-Id c10d"
    );
}

#[test]
fn an_unreadable_success_says_so() {
    let reader = Reader { secrets: &[] };
    let problem = reader.unreadable(&Answer {
        status: 200,
        location: None,
        correlation_id: Some("c10d"),
        body: b"<html>",
    });
    let text = problem.to_string();
    assert!(
        text.contains("answered 200 with something that cannot be read"),
        "{text}"
    );
    assert!(text.ends_with("X-Correlation-Id c10d"), "{text}");
}

proptest! {
    #[test]
    fn no_answer_panics_or_shows_the_token_or_a_control_character(
        status in 100_u16..1000,
        pieces in vec(prop::sample::select(vec![
            "{\"error\":", "{\"code\":", "\"locked\"", "\"message\":", "\"details\":", "{", "}", ",",
            "\"fields\":[", "{\"name\":", "]", "\"zPq7horse\"", "\"\\u001b[1m\"", "null", "zPq7horse",
        ]), 0..12),
        location in prop::option::of("(https://)?[a-z/.\\PC]{0,20}(zPq7horse)?"),
        id in prop::option::of("\\PC{0,8}(zPq7horse)?\\PC{0,300}"),
    ) {
        let body = pieces.concat();
        let trouble = read_with(status, body.as_bytes(), location.as_deref(), id.as_deref());
        prop_assert_eq!(trouble.is_none(), (200..300).contains(&status));
        if let Some(trouble) = trouble {
            let text = trouble.problem.to_string();
            prop_assert!(!text.contains(TOKEN), "{}", text);
            prop_assert!(!text.contains(char::is_control), "{}", text);
            prop_assert!(text.chars().count() < 1500, "{}", text);
        }
    }
}
