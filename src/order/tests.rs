//! Tests of the rules for an action's argument.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BASE: &str = "username=FOO,password=BAR,ip=4.4.4.4,active_ip=1.1.1.1";

fn order(argument: &str) -> Order {
    Order::parse(argument.as_bytes()).unwrap()
}

/// The mistakes of an argument, one line each.
fn mistakes(argument: &str) -> String {
    let mistakes = match Order::parse(argument.as_bytes()) {
        Ok(order) => order.secret().check_file().into_iter().collect(),
        Err(mistakes) => mistakes,
    };
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The only mistake in `more` after a valid argument.
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
    assert_eq!(order.robot().username, b"FOO");
    assert_eq!(order.secret().get().unwrap().expose(), b"BAR");
    assert_eq!(order.ip.to_string(), "4.4.4.4");
    assert_eq!(order.robot().active_ip.to_string(), "1.1.1.1");
    assert_eq!(
        order.url().as_uri(),
        "https://robot-ws.your-server.de/failover/4.4.4.4"
    );
    assert_eq!(order.timeout.as_secs(), 60);
    assert_eq!(order.deadline.as_secs(), 300);
    assert_eq!(order.watch, Some(Duration::from_secs(300)));
    assert_eq!(order.watch_action, WatchAction::Warn);
    assert_eq!(order.family, Family::Any);
    assert_eq!(order.trust, Trust::System);
    assert_eq!(order.warnings(), [""; 0]);
}

#[test]
fn aliases_mean_the_same_and_the_last_wins() {
    let order = order("user=A,username=B,pass=C,password=D,ip=4.4.4.4,active_server_ip=1.1.1.1");
    assert_eq!(order.robot().username, b"B");
    assert_eq!(order.secret().get().unwrap().expose(), b"D");
    let again =
        super::Order::parse(format!("{BASE},user=Z,pass=Y,active_server_ip=2.2.2.2").as_bytes());
    let again = again.unwrap();
    assert_eq!(again.robot().username, b"Z");
    assert_eq!(again.secret().get().unwrap().expose(), b"Y");
    assert_eq!(again.robot().active_ip.to_string(), "2.2.2.2");
}

#[test]
fn ipv6_subnets_are_taken_by_their_network_address() {
    let order = order("user=A,pass=B,ip=2a01:4f8:fff1:0::,active_ip=2a01:4f8:d0a:2003::");
    assert_eq!(
        order.url().as_uri(),
        "https://robot-ws.your-server.de/failover/2a01:4f8:fff1::"
    );
}

#[test]
fn the_deadline_defaults_to_300_s_or_the_timeout() {
    assert_eq!(
        order(&format!("{BASE},timeout=3600")).deadline.as_secs(),
        3600
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
    assert_eq!(order.url().as_uri(), "https://[::1]:8443/a/b?c=d&e");
    assert_eq!(order.url().host(), "::1");
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
    for off in ["0", "no", "off", "false", "False", "NO"] {
        let order = order(&format!("{BASE},ssl_no_verify,ssl_no_verify={off}"));
        assert_eq!(order.trust, Trust::System, "{off}");
    }
}

#[test]
fn dangerous_settings_are_warned_of() {
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
    assert_eq!(lines.lines().count(), 8, "{lines}");
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
    assert_mistake("ssl-verify=0", "ssl-verify", "unknown key");
    assert_mistake("verify", "verify", "unknown key");
}

#[test]
fn a_password_in_the_place_of_a_key_is_not_shown() {
    for item in [
        "password:s3cret",
        "password s3cret",
        "passs3cret",
        "s3cret",
        "s3cret=",
        "password: s3cret==",
    ] {
        let lines = mistakes(&format!("username=FOO,{item},ip=4.4.4.4,active_ip=1.1.1.1"));
        assert!(!lines.contains("s3cret"), "{lines}");
        assert!(lines.contains("item 2: unknown key"), "{lines}");
    }
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
    assert_mistake("password_file=/x", "password", "both set");
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
fn a_value_that_is_not_an_address_is_a_mistake() {
    for value in ["4.4.4", "4.4.4.4:80", "example.org", "04.4.4.4"] {
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
fn a_value_that_is_not_a_url_is_a_mistake() {
    assert_mistake("url=robot", "url", "https://");
    assert_mistake("url=ftp://host/", "url", "https://");
    assert_mistake("url=https://", "url", "not a URL");
    assert_mistake("url=https://host:99999/", "url", "not a URL");
    assert_mistake("url=https://ho st/", "url", "not a URL");
    assert_mistake("url=https://host/#x", "url", "fragment");
    let credentials = mistake("url=https://FOO:s3cret@host/");
    assert!(credentials.contains("password=") && !credentials.contains("s3cret"));
}

#[test]
fn several_addresses_are_orders_of_their_own() {
    let ips = "ip=4.4.4.4 2a01:4f8:fff1::  5.5.5.5,active_ip=2a01:4f8:d0a:2003:: 1.1.1.1";
    let argument = format!("{BASE},{ips},url=https://localhost/{{ip}}");
    let orders = parse(Action::Failover, argument.as_bytes()).unwrap();
    let shown: Vec<String> = orders
        .iter()
        .map(|order| format!("{} {} {}", order.ip, order.server(), order.url().as_uri()))
        .collect();
    assert_eq!(
        shown,
        [
            "4.4.4.4 1.1.1.1 https://localhost/4.4.4.4",
            "2a01:4f8:fff1:: 2a01:4f8:d0a:2003:: https://localhost/2a01:4f8:fff1::",
            "5.5.5.5 1.1.1.1 https://localhost/5.5.5.5",
        ]
    );
}

#[test]
fn mistakes_in_several_addresses_are_named() {
    let seventeen: Vec<String> = (1..18).map(|last| format!("4.4.4.{last}")).collect();
    assert_mistake(
        &format!("ip={}", seventeen.join(" ")),
        "ip",
        "has 17 addresses, but one action moves at most 16",
    );
    assert_mistake("ip=4.4.4.4 4.4.4.4", "ip", "4.4.4.4 is written twice");
    assert_mistake(
        "ip=4.4.4.4 5.5.5.5,url=https://localhost/x",
        "url",
        "is one URL for several",
    );
    let host = "ip=2a01:4f8:fff1::,active_ip=2a01:4f8:d0a:2003::,url=https://{ip}/x";
    assert_mistake(host, "url", "is not a URL");
}

#[test]
fn credentials_in_an_endpoint_are_a_mistake_that_names_the_keys_there_are() {
    for action in [Action::Floating, Action::Alias] {
        let argument = b"token=T,ip=1.1.1.1,endpoint=https://u:p@127.0.0.1/v1";
        let mistakes = super::parse(action, argument).unwrap_err();
        let texts: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        let expected = "endpoint: contains a username or a password: remove them, and write the \
                        token as token_file=";
        assert!(texts.iter().any(|text| text == expected), "{texts:?}");
    }
    assert_mistake(
        "url=https://u:p@127.0.0.1/",
        "url",
        "write them as username=",
    );
}

#[test]
fn an_address_that_is_no_alias_ip_names_what_moves_it() {
    for (ip, expected) in [
        ("4.4.4.4", "hetzner-floatingip moves those"),
        ("2a01:4f8:fff1::", "hetzner-floatingip moves those"),
        ("2001:db8::", "hetzner-floatingip moves those"),
        (
            "fd00::1",
            "but private Networks and their alias IPs are IPv4",
        ),
        (
            "fe80::1",
            "but private Networks and their alias IPs are IPv4",
        ),
    ] {
        let argument = format!("token=T,ip={ip}");
        let mistakes = super::parse(Action::Alias, argument.as_bytes()).unwrap_err();
        let text = mistakes[0].to_string();
        assert!(mistakes.len() == 1 && text.ends_with(expected), "{text}");
    }
}

/// An order of `hetzner-aliasip`.
fn alias(more: &str) -> Order {
    let argument = format!("token=T,ip=10.0.0.100{more}");
    parse(Action::Alias, argument.as_bytes()).unwrap().remove(0)
}

#[test]
fn what_no_token_has_is_a_mistake_of_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let argument = format!("token_file={},ip=10.0.0.1", file.path().display());
    let mistake = |content: &[u8]| {
        std::fs::write(file.path(), content).unwrap();
        let order = parse(Action::Alias, argument.as_bytes()).unwrap().remove(0);
        order
            .secret()
            .check_file()
            .map(|mistake| mistake.to_string())
    };
    for good in ["zPq7", "zPq7\n", "zPq7\r\n", "zPq7\nnot this\n"] {
        assert_eq!(mistake(good.as_bytes()), None, "{good:?}");
    }
    for bad in [
        " zPq7",
        "zPq7 ",
        "zPq7\t\n",
        "zPq7 zPq7",
        "\u{feff}zPq7",
        "\u{a0}zPq7",
        "zPq7\0",
        "zPq7\x7f",
        "zPq7\r\r\n",
    ] {
        let text = mistake(bad.as_bytes()).unwrap();
        let expected = "token_file: contains a character that no token has";
        assert!(text.starts_with(expected), "{bad:?}: {text}");
        assert!(!text.contains(MARK), "{text}");
    }
}

#[test]
fn alias_ips_that_may_not_be_moved_before_the_deadline_are_warned_of() {
    let warnings = |number: u8, more: &str| {
        let ips: Vec<String> = (1..=number).map(|last| format!("10.0.0.{last}")).collect();
        let argument = format!("token=T,ip={}{more}", ips.join(" "));
        let orders = parse(Action::Alias, argument.as_bytes()).unwrap();
        orders[0].warnings().concat()
    };
    assert_eq!(warnings(6, ""), "");
    assert!(warnings(7, "").contains("takes up to 140 s; deadline is 120 s: set it to 140"));
    assert_eq!(warnings(7, ",deadline=140"), "");
}

#[test]
fn orders_contradict_each_other_about_one_address() {
    for (one, two, contradict) in [
        ("", "", true),
        (",network=7", "", true),
        (",network=7", ",network=8", false),
        (",server=1", ",server=2", true),
        (
            ",endpoint=https://localhost/1",
            ",endpoint=https://localhost/2",
            false,
        ),
    ] {
        assert_eq!(
            alias(one).contradicts(&alias(two)),
            contradict,
            "{one} {two}"
        );
        assert_eq!(
            alias(two).contradicts(&alias(one)),
            contradict,
            "{two} {one}"
        );
    }
}

/// Text that no message contains by itself.
const MARK: &str = "zPq7";

const KEYS: [&str; 13] = [
    "username",
    "user",
    "password",
    "pass",
    "password_file",
    "ip",
    "active_ip",
    "active_server_ip",
    "url",
    "timeout",
    "deadline",
    "ssl_no_verify",
    "ca_file",
];

/// All messages about an argument.
fn texts(argument: &[u8]) -> Vec<String> {
    let (mistakes, mut texts) = match Order::parse(argument) {
        Ok(order) => (
            order.secret().check_file().into_iter().collect(),
            order.warnings(),
        ),
        Err(mistakes) => (mistakes, Vec::new()),
    };
    texts.extend(mistakes.iter().map(ToString::to_string));
    texts
}

/// A value that means something to some key, or any bytes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "4.4.4.4",
        "1.1.1.1",
        "::1",
        "::",
        "1.1.1.1/32",
        "https://[::1]:0/",
        "http://a@b",
        "60",
        "0",
        "99999999999999999999",
        "",
        "/nonexistent/",
        "\u{1b}[2J",
        "\\",
        "FOO",
        "a:b",
        "=",
    ];
    prop_oneof![
        2 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

/// `key=value`, or almost.
fn item() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(KEYS.to_vec()), value(), 0..10).prop_map(
        |(key, value, shape)| match shape {
            0 => key.as_bytes().to_vec(),
            1 => value,
            2 => [b" ", key.as_bytes(), b" =", &value].concat(),
            _ => [key.as_bytes(), b"=", &value].concat(),
        },
    )
}

/// A password as it is written in the configuration.
fn password() -> impl Strategy<Value = String> {
    let characters = ['a', ',', '\\', '=', ' ', '@', '/', ':', '#', '\n', '\u{e9}'];
    vec(prop::sample::select(characters.to_vec()), 0..10).prop_map(|characters| {
        let password: String = characters.into_iter().collect();
        format!("{MARK}{password}{MARK}")
            .replace('\\', r"\\")
            .replace(',', r"\,")
    })
}

proptest! {
    #[test]
    fn any_argument_is_an_order_or_mistakes(items in vec(item(), 0..8)) {
        let argument = items.join(&b',');
        prop_assert!(Order::parse(&argument).is_ok() || !texts(&argument).is_empty());
    }

    #[test]
    fn no_text_has_control_characters(items in vec(item(), 0..8)) {
        let is_path = |item: &Vec<u8>| item.trim_ascii_start().starts_with(b"password_file")
            || item.trim_ascii_start().starts_with(b"ca_file");
        let items: Vec<Vec<u8>> = items.into_iter().filter(|item| !is_path(item)).collect();
        for text in texts(&items.join(&b',')) {
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn no_text_shows_a_password(
        before in vec(item(), 0..4),
        key in prop::sample::select(vec!["password", "pass", " password ", "pass\\word"]),
        password in password(),
        after in vec(item(), 0..4),
    ) {
        let item = format!("{key}={password}").into_bytes();
        // A backslash at the end of the item before would escape the comma.
        let before = before.into_iter().filter(|item| !item.ends_with(b"\\"));
        let items: Vec<Vec<u8>> = before.chain([item]).chain(after).collect();
        for text in texts(&items.join(&b',')) {
            prop_assert!(!text.contains(MARK), "{:?}", text);
        }
    }

    #[test]
    fn no_text_shows_a_piece_of_a_password(pieces in vec("[a-z]{0,3}=?[a-z]{0,3}", 1..5)) {
        let pieces: Vec<String> = pieces.iter().map(|piece| format!("{MARK}{piece}")).collect();
        let argument = format!("{BASE},password={},oops=1", pieces.join(","));
        for text in texts(argument.as_bytes()) {
            prop_assert!(!text.contains(MARK), "{:?}", text);
        }
    }
}

#[test]
fn a_path_is_shown_without_control_characters() {
    let line =
        mistakes("user=A,ip=4.4.4.4,active_ip=1.1.1.1,password_file=/nonexistent\x1b[2J\n/x");
    assert!(line.starts_with("password_file: /nonexistent"), "{line:?}");
    assert!(!line.contains(char::is_control), "{line:?}");
}

#[test]
fn credentials_in_a_broken_url_are_not_shown() {
    for url in [
        "https:/FOO:s3cret@host/x",
        "FOO:s3cret@host/a/b",
        "https:///FOO:s3cret@host/",
        "https:\\\\\\\\FOO:s3cret@host/a/b",
    ] {
        let line = mistake(&format!("url={url}"));
        assert!(!line.contains("s3cret"), "{line}");
    }
}

#[test]
fn a_piece_of_a_password_whose_key_is_misspelt_is_not_shown() {
    for key in ["passwort", "Password", "pwd", "password_"] {
        let lines = mistakes(&format!(
            "username=FOO,{key}=abc,s3cret,ip=4.4.4.4,active_ip=1.1.1.1"
        ));
        assert!(!lines.contains("s3cret"), "{lines}");
    }
}

#[test]
fn a_lord_looks_every_minute_at_most() {
    for (value, seconds) in [("60", Some(60)), ("86400", Some(86_400)), ("0", None)] {
        let order = order(&format!("{BASE},watch={value}"));
        assert_eq!(order.watch, seconds.map(Duration::from_secs), "{value}");
    }
    for value in ["59", "1", "86401", "x", "-1", "00"] {
        assert_mistake(
            &format!("watch={value}"),
            "watch",
            "is neither 0 (never) nor",
        );
    }
}

#[test]
fn a_watch_action_is_warn_or_retake() {
    let action = |value| order(&format!("{BASE},watch_action={value}")).watch_action;
    assert_eq!(action("warn"), WatchAction::Warn);
    assert_eq!(action("retake"), WatchAction::Retake);
    assert_mistake(
        "watch_action=restart",
        "watch_action",
        "`restart` is not allowed: write warn or retake",
    );
}

#[test]
fn an_alarm_has_a_name() {
    let alarm = |more: &str| order(&format!("{BASE}{more}")).alarm;
    assert_eq!(alarm(""), None);
    assert_eq!(alarm(",alarm=pager"), Some(b"pager".to_vec()));
    assert_mistake("alarm=", "alarm", "is empty");
}

#[test]
fn connect_restricts_the_family() {
    let family = |value| order(&format!("{BASE},connect={value}")).family;
    assert_eq!(family("ipv4"), Family::Ipv4);
    assert_eq!(family("ipv6"), Family::Ipv6);
    assert_eq!(family("any"), Family::Any);
    assert_mistake(
        "connect=v4",
        "connect",
        "`v4` is not allowed: write ipv4, ipv6 or any",
    );
    assert_mistake(
        "connect=ipv4,url=https://[::1]/x",
        "connect",
        "ipv4 excludes ::1",
    );
}

#[test]
fn only_public_addresses_can_be_routed() {
    for address in [
        "10.0.0.2",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "0.0.0.0",
        "255.255.255.255",
        "fc00::",
        "fe80::",
    ] {
        let other = match address.contains(':') {
            true => "2a01:4f8:fff1::",
            false => "4.4.4.4",
        };
        let keys = |ip: &str, active: &str| format!("ip={ip},active_ip={active}");
        assert_mistake(&keys(address, other), "ip", "is not a public address");
        assert_mistake(
            &keys(other, address),
            "active_ip",
            "is not a public address",
        );
        // A custom endpoint may route what it likes.
        order(&format!(
            "{BASE},{},url=https://localhost/x",
            keys(other, address)
        ));
    }
}

#[test]
fn a_control_character_in_the_login_is_a_mistake() {
    for more in ["username=FOO\r", "password=BAR\r", "username=a\tb"] {
        let key = &more[..8];
        assert_mistake(more, key, "contains a control character");
    }
}

#[test]
fn quotes_around_the_login_are_warned_of() {
    for (more, key) in [
        ("username=\"FOO\"", "username"),
        ("username='FOO'", "username"),
        ("password=\"s3cret\"", "password"),
    ] {
        let warnings = order(&format!("{BASE},{more}")).warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("{key} is in quotes")));
        assert!(!warnings[0].contains("s3cret"));
    }
    for more in ["username=\"FOO", "username='"] {
        assert!(order(&format!("{BASE},{more}")).warnings().is_empty());
    }
}
