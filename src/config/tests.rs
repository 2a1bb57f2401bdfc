//! Tests of the configuration's rules.

use super::*;

const BASE: &str = "username=FOO,password=BAR,ip=4.4.4.4,active_ip=1.1.1.1";

fn order(argument: &str) -> Order {
    Order::parse(argument.as_bytes()).unwrap()
}

/// The mistakes of an argument, one line each.
fn mistakes(argument: &str) -> String {
    let mistakes = Order::parse(argument.as_bytes()).unwrap_err();
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The one mistake that `more`, after a valid argument, makes.
fn mistake(more: &str) -> String {
    let lines = mistakes(&format!("{BASE},{more}"));
    assert_eq!(lines.lines().count(), 1, "{lines}");
    lines
}

#[track_caller]
fn assert_mistake(more: &str, key: &str, part: &str) {
    let line = mistake(more);
    assert!(line.starts_with(&format!("{key}: ")), "{line}");
    assert!(line.contains(part), "{line}");
}

#[test]
fn the_example_has_the_documented_defaults() {
    let order = order(BASE);
    assert_eq!(order.username, b"FOO");
    assert_eq!(order.password().unwrap().expose(), b"BAR");
    assert_eq!(order.failover_ip.to_string(), "4.4.4.4");
    assert_eq!(order.active_ip.to_string(), "1.1.1.1");
    assert_eq!(
        order.url.as_uri(),
        "https://robot-ws.your-server.de/failover/4.4.4.4"
    );
    assert_eq!(order.timeout.as_secs(), 60);
    assert_eq!(order.deadline.as_secs(), 120);
    assert_eq!(order.trust, Trust::System);
    assert_eq!(order.warnings(), [""; 0]);
}

#[test]
fn aliases_mean_the_same_and_the_last_wins() {
    let order = order("user=A,username=B,pass=C,password=D,ip=4.4.4.4,active_server_ip=1.1.1.1");
    assert_eq!(order.username, b"B");
    assert_eq!(order.password().unwrap().expose(), b"D");
    let again =
        super::Order::parse(format!("{BASE},user=Z,pass=Y,active_server_ip=2.2.2.2").as_bytes());
    let again = again.unwrap();
    assert_eq!(again.username, b"Z");
    assert_eq!(again.password().unwrap().expose(), b"Y");
    assert_eq!(again.active_ip.to_string(), "2.2.2.2");
}

#[test]
fn ipv6_subnets_are_taken_by_their_network_address() {
    let order = order("user=A,pass=B,ip=2a01:4f8:fff1:0::,active_ip=2a01:4f8:d0a:2003::");
    assert_eq!(
        order.url.as_uri(),
        "https://robot-ws.your-server.de/failover/2a01:4f8:fff1::"
    );
}

#[test]
fn the_deadline_defaults_to_twice_the_timeout() {
    assert_eq!(
        order(&format!("{BASE},timeout=3600")).deadline.as_secs(),
        7200
    );
    assert_eq!(
        order(&format!("{BASE},timeout=1,deadline=1"))
            .deadline
            .as_secs(),
        1
    );
}

#[test]
fn a_url_is_used_as_it_is() {
    let order = order(&format!("{BASE},url=https://[::1]:8443/a/b?c=d&e"));
    assert_eq!(order.url.as_uri(), "https://[::1]:8443/a/b?c=d&e");
    assert_eq!(order.url.host(), "::1");
}

#[test]
fn ssl_no_verify_is_a_flag() {
    for on in [
        "ssl_no_verify",
        "ssl_no_verify=1",
        "ssl_no_verify=",
        "ssl_no_verify=yes",
    ] {
        assert_eq!(order(&format!("{BASE},{on}")).trust, Trust::Anyone, "{on}");
    }
    for off in ["0", "no", "off", "false"] {
        let order = order(&format!("{BASE},ssl_no_verify,ssl_no_verify={off}"));
        assert_eq!(order.trust, Trust::System, "{off}");
    }
}

#[test]
fn what_is_dangerous_is_warned_of() {
    let warnings = |more: &str| order(&format!("{BASE},{more}")).warnings().join("\n");
    assert!(warnings("ssl_no_verify").contains("ssl_no_verify is on"));
    assert!(warnings("url=http://robot.example/x").contains("unencrypted"));
    for loopback in [
        "http://localhost:1/x",
        "http://127.0.0.1/x",
        "http://[::1]:1/",
    ] {
        assert_eq!(warnings(&format!("url={loopback}")), "");
    }
}

#[test]
fn required_keys_are_named_all_at_once() {
    let lines = mistakes("");
    for key in [
        "username: is required",
        "password: is required",
        "ip: is required",
        "active_ip: is required",
    ] {
        assert!(lines.contains(key), "{lines}");
    }
    assert_eq!(lines.lines().count(), 4);
}

#[test]
fn all_mistakes_are_named_at_once() {
    let lines = mistakes(
        "username=,password=,ip=x,active_ip=y,timeout=0,deadline=0,url=z,ca_file=/nonexistent,oops=1",
    );
    assert_eq!(lines.lines().count(), 9, "{lines}");
}

#[test]
fn empty_values_are_mistakes() {
    for key in [
        "username",
        "password",
        "ip",
        "active_ip",
        "url",
        "timeout",
        "deadline",
        "ca_file",
    ] {
        assert_mistake(&format!("{key}="), key, "is empty");
    }
}

#[test]
fn a_bare_key_that_is_no_flag_is_a_mistake() {
    for key in [
        "username",
        "password",
        "ip",
        "active_ip",
        "url",
        "timeout",
        "deadline",
        "ca_file",
        "password_file",
    ] {
        assert!(mistake(key).contains(&format!("{key}: has no value")));
    }
}

#[test]
fn an_unknown_key_is_named() {
    assert_mistake("pasword_file=/x", "pasword_file", "unknown key");
    assert_mistake("verify", "verify", "unknown key");
}

#[test]
fn a_piece_of_a_password_is_not_shown() {
    let lines = mistakes("username=FOO,password=abc,def,g=hi,ip=4.4.4.4,active_ip=1.1.1.1,oops=1");
    assert!(
        !lines.contains("def") && !lines.contains("g:") && !lines.contains("abc"),
        "{lines}"
    );
    assert!(lines.contains("item 3: unknown key") && lines.contains("item 4: unknown key"));
    assert!(lines.contains("oops: unknown key"));
}

#[test]
fn password_and_password_file_exclude_each_other() {
    assert_mistake("password_file=/x", "password", "both given");
}

#[test]
fn a_password_file_that_cannot_be_used_is_a_mistake() {
    let lines = mistakes("username=FOO,password_file=/nonexistent,ip=4.4.4.4,active_ip=1.1.1.1");
    assert!(
        lines.starts_with("password_file: /nonexistent cannot be read"),
        "{lines}"
    );
}

#[test]
fn a_colon_in_a_username_is_a_mistake() {
    assert_mistake("username=a:b", "username", "colon");
}

#[test]
fn what_is_no_address_is_a_mistake() {
    for value in ["4.4.4", "4.4.4.4:80", " 4.4.4.4", "example.org", "04.4.4.4"] {
        assert_mistake(&format!("ip={value}"), "ip", "not an IP address");
    }
    assert_mistake("ip=4.4.4.4/32", "ip", "prefix length");
    assert_mistake("active_ip=localhost", "active_ip", "not an IP address");
    assert_mistake("active_ip=4.4.4.4", "active_ip", "failover IP itself");
}

#[test]
fn addresses_of_two_families_are_a_mistake() {
    assert_mistake("active_ip=2a01:4f8:d0a:2003::", "active_ip", "same family");
    let host = mistakes("user=A,pass=B,ip=2a01:4f8:fff1::1,active_ip=2a01:4f8:d0a:2003::");
    assert!(
        host.contains("ip: `2a01:4f8:fff1::1` is not the network address"),
        "{host}"
    );
}

#[test]
fn spans_out_of_range_are_mistakes() {
    for value in [
        "0",
        "3601",
        "-1",
        "1.5",
        "60s",
        "99999999999999999999",
        "+5",
    ] {
        assert_mistake(&format!("timeout={value}"), "timeout", "from 1 to 3600");
    }
    assert_mistake("timeout=30,deadline=29", "deadline", "from 30 to 86400");
    assert_mistake("deadline=59", "deadline", "from 60 to 86400");
}

#[test]
fn what_is_no_url_is_a_mistake() {
    assert_mistake("url=robot", "url", "https://");
    assert_mistake("url=ftp://host/", "url", "https://");
    assert_mistake("url=https://", "url", "not a url");
    assert_mistake("url=https://host:99999/", "url", "not a url");
    assert_mistake("url=https://ho st/", "url", "not a url");
    assert_mistake("url=https://host/#x", "url", "fragment");
    let credentials = mistake("url=https://FOO:s3cret@host/");
    assert!(credentials.contains("password=") && !credentials.contains("s3cret"));
}

#[test]
fn a_ca_file_that_cannot_be_used_is_a_mistake() {
    assert_mistake("ca_file=/nonexistent", "ca_file", "cannot be read");
    let empty = tempfile::NamedTempFile::new().unwrap();
    let argument = format!("ca_file={}", empty.path().display());
    assert_mistake(&argument, "ca_file", "no certificate");
}
