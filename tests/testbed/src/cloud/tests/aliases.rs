//! Alias IPs: lists that replace each other, and addresses that belong to one server.

use super::*;

const NETWORK: u64 = 7;

fn alias() -> IpAddr {
    ip("10.0.0.100")
}

fn v4(texts: &[&str]) -> Vec<Ipv4Addr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn change(server: u64, ips: &[&str]) -> String {
    let line = format!("POST /v1/servers/{server}/actions/change_alias_ips");
    let body = json!({"network": NETWORK, "alias_ips": ips});
    request(&line, &body.to_string())
}

#[test]
fn the_list_replaces_all_aliases_of_that_server_in_that_network() {
    let mut settings = Settings::default();
    settings
        .networks
        .push(Network::new(8, "other", Ipv4Addr::new(10, 1, 0, 0), 16));
    settings.servers[0] =
        settings.servers[0]
            .clone()
            .attached(8, Ipv4Addr::new(10, 1, 0, 2), &v4(&["10.1.0.9"]));
    let cloud = plain(settings);
    let (status, body) = ask(&cloud, &change(42, &["10.0.0.101", "10.0.0.102"]));
    assert_eq!(
        (status, &body["action"]["command"]),
        (201, &json!("change_alias_ips"))
    );
    assert_eq!(
        cloud.aliases(42, NETWORK),
        v4(&["10.0.0.101", "10.0.0.102"])
    );
    assert_eq!(cloud.aliases(42, 8), v4(&["10.1.0.9"]));
    assert_eq!(cloud.holder(alias()), None);
    let (_, body) = ask(&cloud, &get("/servers/42"));
    let private = &body["server"]["private_net"];
    assert_eq!(private[0]["alias_ips"], json!(["10.0.0.101", "10.0.0.102"]));
    assert_eq!(private[1]["alias_ips"], json!(["10.1.0.9"]));
    assert_eq!(ask(&cloud, &change(42, &[])).0, 201);
    assert!(cloud.wait_for_aliases(42, NETWORK, &[], Duration::ZERO));
}

#[test]
fn an_address_is_taken_off_its_holder_before_another_server_gets_it() {
    let cloud = plain(Settings::default());
    let taken = (422, "ip_not_available".to_owned());
    assert_eq!(refusal(&cloud, &change(43, &["10.0.0.100"])), taken);
    assert_eq!(refusal(&cloud, &change(43, &["10.0.1.2"])), taken);
    assert_eq!(ask(&cloud, &change(42, &[])).0, 201);
    assert_eq!(cloud.holder(alias()), None);
    assert_eq!(ask(&cloud, &change(43, &["10.0.0.100"])).0, 201);
    assert_eq!(cloud.holder(alias()), Some(43));
    cloud.set_aliases(43, NETWORK, &[]);
    cloud.set_aliases(44, NETWORK, &v4(&["10.0.0.100"]));
    assert_eq!(cloud.holder(alias()), Some(44));
}

#[test]
fn an_address_is_released_some_time_after_it_was_taken_off() {
    for unreleased in [Refusal::NoSubnetAvailable, Refusal::IpNotAvailable] {
        let cloud = plain(Settings {
            release_time: HOUR,
            unreleased,
            ..Settings::default()
        });
        assert_eq!(ask(&cloud, &change(42, &[])).0, 201);
        let refused = (422, unreleased.code().to_owned());
        assert_eq!(refusal(&cloud, &change(43, &["10.0.0.100"])), refused);
        assert_eq!(ask(&cloud, &change(42, &["10.0.0.100"])).0, 201);
        cloud.set_release_time(Duration::from_millis(20));
        assert_eq!(ask(&cloud, &change(42, &[])).0, 201);
        // The newer of the two times counts.
        let began = Instant::now();
        while ask(&cloud, &change(43, &["10.0.0.100"])).0 != 201 {
            assert!(began.elapsed() < LONG);
        }
        assert_eq!(cloud.holder(alias()), Some(43));
    }
}

#[test]
fn a_running_action_locks_its_server_and_promises_its_addresses() {
    let cloud = plain(Settings::default());
    cloud.set_aliases(42, NETWORK, &[]);
    cloud.set_action_time(HOUR);
    assert_eq!(ask(&cloud, &change(43, &["10.0.0.100"])).0, 201);
    assert_eq!(refusal(&cloud, &change(43, &[])).1, "locked");
    assert_eq!(
        refusal(&cloud, &change(44, &["10.0.0.100"])).1,
        "ip_not_available"
    );
    assert_eq!(ask(&cloud, &change(44, &["10.0.0.101"])).0, 201);
    cloud.end_actions();
    assert_eq!(cloud.holder(alias()), Some(43));
    cloud.lock(Item::Server(44), HOUR);
    assert_eq!(
        refusal(&cloud, &change(44, &[])),
        (423, "locked".to_owned())
    );
}

#[test]
fn every_refusal_of_a_list_has_its_code() {
    let mut settings = Settings::default();
    settings.servers.push(Server::new(45, "node4"));
    let cloud = plain(settings);
    let line = "POST /v1/servers/42/actions/change_alias_ips";
    for (text, status, code) in [
        (change(1, &[]), 404, "not_found"),
        (change(45, &[]), 422, "invalid_input"),
        (change(42, &["10.1.0.1"]), 422, "invalid_input"),
        (change(42, &["2001:db8::1"]), 422, "invalid_input"),
        (change(42, &["10.0.0.9", "10.0.0.9"]), 422, "invalid_input"),
        (request(line, "{\"network\":7}"), 422, "invalid_input"),
        (request(line, "{\"alias_ips\":[]}"), 422, "invalid_input"),
        (
            request(line, "{\"network\":1,\"alias_ips\":[]}"),
            404,
            "not_found",
        ),
        (request(line, "[]"), 400, "json_error"),
    ] {
        assert_eq!(refusal(&cloud, &text), (status, code.to_owned()), "{text}");
    }
    assert_eq!(cloud.holder(alias()), Some(42));
}

#[test]
fn stale_and_bad_reads_are_about_aliases_too() {
    let cloud = plain(Settings::default());
    let shown = |server: u64| {
        let (_, body) = ask(&cloud, &get(&format!("/servers/{server}")));
        body["server"]["private_net"][0]["alias_ips"].clone()
    };
    cloud.order(When::Once(Requests::SERVER), Quirk::BadRead(Some(43)));
    assert_eq!((shown(43), shown(43)), (json!(["10.0.0.100"]), json!([])));
    cloud.order(When::Once(Requests::SERVER), Quirk::BadRead(Some(43)));
    assert_eq!((shown(42), shown(42)), (json!([]), json!(["10.0.0.100"])));
    cloud.order(
        When::Once(Requests::CHANGE_ALIAS_IPS),
        Quirk::StaleReads(HOUR),
    );
    assert_eq!(ask(&cloud, &change(42, &[])).0, 201);
    assert_eq!(
        (shown(42), cloud.holder(alias())),
        (json!(["10.0.0.100"]), None)
    );
}

#[test]
fn another_client_edits_a_list_unless_the_api_refuses_it() {
    let cloud = plain(Settings::default());
    let add = |server, address: &str| {
        let address: Ipv4Addr = address.parse().unwrap();
        cloud.edit_aliases(server, NETWORK, |ips| ips.push(address))
    };
    assert!(add(42, "10.0.0.101"));
    assert_eq!(
        cloud.aliases(42, NETWORK),
        v4(&["10.0.0.100", "10.0.0.101"])
    );
    assert!(!add(43, "10.0.0.101"), "it is another server's");
    assert!(!add(43, "10.1.0.0"), "it is not in the Network's range");
    assert!(!add(99, "10.0.0.102"), "there is no such server");
    cloud.lock(Item::Server(43), HOUR);
    assert!(!add(43, "10.0.0.102"), "it is locked");
    assert_eq!(cloud.aliases(43, NETWORK), v4(&[]));
}
