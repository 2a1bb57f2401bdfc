//! Alias IPs.

use std::net::Ipv4Addr;

use testbed::cloud::{
    Fault, Method, Network, Quirk, Refusal, Requests, Server, Settings, Status, When,
};

use super::*;

const ALIAS: &str = "10.0.0.100";

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn addresses(list: &[&str]) -> Vec<Ipv4Addr> {
    list.iter().map(|text| v4(text)).collect()
}

/// The alias is at server 42, and both servers have others.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.servers[0].private[0].aliases = addresses(&["10.0.0.1", ALIAS, "10.0.0.2"]);
    settings.servers[1].private[0].aliases = addresses(&["10.0.0.3"]);
    settings
}

fn start() -> Cloud {
    Cloud::start(settings()).unwrap()
}

fn move_alias(cloud: &Cloud, keys: &str) -> Ended {
    take(cloud, Action::Alias, ALIAS, keys)
}

#[track_caller]
fn all_survived(cloud: &Cloud) {
    assert_eq!(cloud.aliases(42, 7), addresses(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(cloud.aliases(43, 7), addresses(&["10.0.0.3", ALIAS]));
}

#[test]
fn it_is_taken_off_its_server_and_set_on_ours_and_all_others_survive() {
    let cloud = start();
    let ended = move_alias(&cloud, "");
    ended.is_routed();
    all_survived(&cloud);
    let asked: Vec<String> = cloud
        .requests()
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(
        asked,
        [
            "GET /v1/servers/43",
            "GET /v1/servers?page=1&per_page=50",
            "GET /v1/networks/7",
            "GET /v1/servers?page=1&per_page=50",
            "POST /v1/servers/42/actions/change_alias_ips",
            "GET /v1/actions/1337",
            "GET /v1/servers?page=1&per_page=50",
            "POST /v1/servers/43/actions/change_alias_ips",
            "GET /v1/actions/1338",
            "GET /v1/servers/43",
        ]
    );
    assert_eq!((ended.report.requests, ended.report.retries()), (10, 0));
    assert_eq!(cloud.connections(), 1);
}

#[test]
fn what_is_here_already_is_asked_for_once_and_nothing_is_written() {
    let mut settings = settings();
    settings.servers.swap(0, 1);
    let cloud = Cloud::start(settings).unwrap();
    let ended = take(&cloud, Action::Alias, ALIAS, "server=node1,");
    ended.is_routed();
    assert_eq!((cloud.posts(), cloud.requests().len()), (0, 1));
}

#[test]
fn a_server_that_is_given_by_its_name_costs_no_request_more() {
    for keys in ["server=43", "server=node2"] {
        let cloud = start();
        let order = order(&cloud, Action::Alias, ALIAS, keys);
        let asked = || cloud.requests().len();
        let new = || client(&order, Goal::Here, &Arc::default());
        // Not here: this server, all servers, the Network.
        assert!(matches!(new().look(LONG), Look::Elsewhere { .. }));
        assert_eq!(asked(), 3, "a look, {keys}");
        let survey = survey_of(&order);
        assert!(survey.server.is_ok() && survey.address.unwrap().is_ok());
        assert_eq!(asked(), 3 + 3, "a check, {keys}");
        let ended = run(&order, &mut *new());
        ended.is_routed();
        all_survived(&cloud);
        assert_eq!((ended.report.requests, asked()), (10, 16), "{keys}");
        // Here: this server alone.
        assert!(matches!(new().look(LONG), Look::Ours));
        assert_eq!(asked(), 17, "a look, {keys}");
    }
}

#[test]
fn the_list_is_read_right_before_it_is_written() {
    for keys in ["server=43", "server=node2"] {
        let cloud = start();
        let order = order(&cloud, Action::Alias, ALIAS, &format!("network=7,{keys}"));
        let mut provider = client(&order, Goal::Here, &Arc::default());
        assert!(matches!(
            provider.change(LONG, &|| true),
            Change::Running(_)
        ));
        let asked = cloud.requests();
        let before = &asked[asked.len() - 2];
        assert_eq!(before.path, "/v1/servers?page=1&per_page=50", "{keys}");
    }
}

#[test]
fn slow_actions_are_waited_for_and_not_asked_about_too_often() {
    let cloud = Cloud::start(Settings {
        action_time: Duration::from_millis(100),
        ..settings()
    })
    .unwrap();
    let ended = move_alias(&cloud, "");
    ended.is_routed();
    all_survived(&cloud);
    assert_eq!(cloud.posts(), 2);
    // 500 ms, with the clock of these tests.
    let polls: Vec<Instant> = cloud
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("/actions/1337"))
        .map(|request| request.at)
        .collect();
    assert!(polls.len() > 1);
    let least = Duration::from_millis(500) / FASTER;
    assert!(polls.windows(2).all(|pair| pair[1] - pair[0] >= least));
}

#[test]
fn two_side_by_side_take_turns_and_both_arrive() {
    let cloud = Cloud::start(Settings {
        action_time: Duration::from_millis(20),
        ..settings()
    })
    .unwrap();
    let shared = Arc::default();
    std::thread::scope(|scope| {
        for ip in [ALIAS, "10.0.0.1", "10.0.0.2"] {
            let (cloud, shared) = (&cloud, &shared);
            scope.spawn(move || {
                let order = order(cloud, Action::Alias, ip, "");
                run(&order, &mut *client(&order, Goal::Here, shared)).is_routed();
            });
        }
    });
    assert!(cloud.aliases(42, 7).is_empty());
    let mut ours = cloud.aliases(43, 7);
    ours.sort();
    assert_eq!(
        ours,
        addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.3", ALIAS])
    );
    let refused = |request: &testbed::cloud::Received| request.status != Some(201);
    let posts = cloud
        .requests()
        .into_iter()
        .filter(|one| one.method == "POST");
    assert_eq!(
        posts.filter(refused).count(),
        0,
        "they got in each other's way"
    );
    assert_eq!(cloud.posts(), 6);
}

#[test]
fn an_address_that_is_not_released_yet_is_waited_for() {
    for unreleased in [Refusal::NoSubnetAvailable, Refusal::IpNotAvailable] {
        let cloud = Cloud::start(Settings {
            release_time: Duration::from_millis(200),
            unreleased,
            ..settings()
        })
        .unwrap();
        move_alias(&cloud, "").is_routed();
        all_survived(&cloud);
    }
}

#[test]
fn passing_trouble_of_each_step_is_tried_again() {
    for refusal in [
        Refusal::Locked,
        Refusal::Conflict,
        Refusal::ResourceUnavailable,
        Refusal::ServiceError,
        Refusal::RateLimitExceeded,
        Refusal::Unavailable,
        Refusal::Maintenance,
    ] {
        for server in [42, 43] {
            let cloud = start();
            let path = format!("/servers/{server}/actions/change_alias_ips");
            let kind = Requests::matching(Method::Post, path);
            cloud.order(When::Times(kind, 2), refusal);
            move_alias(&cloud, "").is_routed();
            all_survived(&cloud);
            assert_eq!(cloud.posts(), 4, "{refusal:?} {server}");
        }
    }
}

#[test]
fn a_step_that_is_done_and_not_answered_is_not_repeated() {
    for fault in [
        Fault::ApplyThen(Box::new(Fault::Close)),
        Fault::ApplyThen(Box::new(Fault::Reset)),
        Fault::ApplyThen(Box::new(Refusal::Timeout.into())),
        Fault::StartThen(Box::new(Fault::Garbage)),
    ] {
        let cloud = start();
        cloud.order(When::Times(Requests::CHANGE_ALIAS_IPS, 2), fault.clone());
        move_alias(&cloud, "").is_routed();
        all_survived(&cloud);
        assert_eq!(cloud.posts(), 2, "{fault:?}");
    }
}

#[test]
fn an_action_that_fails_begins_again_at_the_read() {
    for fault in [Fault::action_fails(), Fault::action_fails_applied()] {
        let cloud = start();
        cloud.order(When::Times(Requests::CHANGE_ALIAS_IPS, 2), fault);
        let ended = move_alias(&cloud, "");
        ended.is_routed();
        all_survived(&cloud);
        let said = ended.lines.join("\n");
        assert!(
            said.contains("action 1337 change_alias_ips has failed: action_failed (Action failed)"),
            "{said}"
        );
    }
}

#[test]
fn reads_that_are_stale_after_a_step_lose_nothing() {
    let cloud = start();
    let lag = Quirk::StaleReads(Duration::from_millis(100));
    cloud.order(When::Times(Requests::CHANGE_ALIAS_IPS, 2), lag);
    move_alias(&cloud, "").is_routed();
    all_survived(&cloud);
    assert_eq!(cloud.posts(), 2);
}

#[test]
fn a_final_refusal_ends_it_before_the_address_was_taken_off_and_not_afterwards() {
    let cloud = start();
    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), Refusal::Protected);
    let text = move_alias(&cloud, "").failure(true);
    assert!(
        text.contains("423 protected") && text.contains("Cloud Console"),
        "{text}"
    );
    assert_eq!(cloud.holder(ip(ALIAS)), Some(42));

    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), Fault::Nothing);
    cloud.order(When::Times(Requests::SERVERS, 3), Fault::Nothing);
    for kind in [
        Requests::CHANGE_ALIAS_IPS,
        Requests::SERVERS,
        Requests::CHANGE_ALIAS_IPS,
        Requests::SERVERS,
    ] {
        cloud.order(When::Once(kind), Refusal::Forbidden);
    }
    move_alias(&cloud, "").is_routed();
    all_survived(&cloud);
}

#[test]
fn half_way_only_a_refused_token_ends_it() {
    let cloud = start();
    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), Fault::Nothing);
    cloud.order(
        When::Once(Requests::CHANGE_ALIAS_IPS),
        Refusal::Unauthorized,
    );
    let text = move_alias(&cloud, "").failure(true);
    assert!(text.contains("check token or token_file"), "{text}");
    assert_eq!(cloud.holder(ip(ALIAS)), None);
    // The next takeover sets it.
    let before = cloud.posts();
    move_alias(&cloud, "").is_routed();
    assert_eq!(cloud.posts(), before + 1);
    all_survived(&cloud);
}

#[test]
fn the_turn_is_given_back_by_a_takeover_that_fails() {
    let cloud = start();
    let shared = Arc::default();
    let order = order(&cloud, Action::Alias, ALIAS, "");
    let mut first = client(&order, Goal::Here, &shared);
    cloud.order(When::Once(Requests::ACTION), Refusal::Unauthorized);
    run(&order, &mut *first).failure(true);
    drop(first);
    run(&order, &mut *client(&order, Goal::Here, &shared)).is_routed();
    all_survived(&cloud);
}

#[test]
fn while_another_has_the_turn_nothing_is_written() {
    let cloud = Cloud::start(Settings {
        action_time: LONG,
        ..settings()
    })
    .unwrap();
    let shared = Arc::default();
    let first = order(&cloud, Action::Alias, ALIAS, "");
    let mut first = client(&first, Goal::Here, &shared);
    let second = order(&cloud, Action::Alias, "10.0.0.1", "");
    let mut second = client(&second, Goal::Here, &shared);
    let short = Duration::from_millis(300);
    assert!(matches!(first.change(LONG, &|| true), Change::Running(_)));
    assert!(matches!(second.change(short, &|| true), Change::Unready(_)));
    assert!(first.is_half_done() && !second.is_half_done());
    assert_eq!(cloud.posts(), 1);
    cloud.end_actions();
    assert!(matches!(first.look(LONG), Look::HalfDone));
    assert!(matches!(second.change(short, &|| true), Change::Unready(_)));
    assert!(matches!(first.change(LONG, &|| true), Change::Running(_)));
    cloud.end_actions();
    assert!(matches!(first.look(LONG), Look::Ours));
    assert!(!first.is_half_done());
    assert!(matches!(second.change(LONG, &|| true), Change::Running(_)));
}

/// A mock whose actions run until they are ended, and an alias IP that is on no server.
fn half_moved() -> (Cloud, Box<dyn Provider>) {
    half_moved_beside(&Arc::default())
}

fn half_moved_beside(shared: &Arc<provider::Shared>) -> (Cloud, Box<dyn Provider>) {
    let cloud = Cloud::start(Settings {
        action_time: LONG,
        ..settings()
    });
    let cloud = cloud.unwrap();
    let order = order(&cloud, Action::Alias, ALIAS, "");
    let mut client = client(&order, Goal::Here, shared);
    assert!(matches!(client.change(LONG, &|| true), Change::Running(_)));
    cloud.end_actions();
    assert!(matches!(client.look(LONG), Look::HalfDone));
    assert_eq!(cloud.holder(ip(ALIAS)), None);
    (cloud, client)
}

#[test]
fn votes_that_are_old_end_a_move_unless_nobody_has_the_address() {
    let cloud = start();
    let order = order(&cloud, Action::Alias, ALIAS, "");
    let mut before = client(&order, Goal::Here, &Arc::default());
    assert!(matches!(before.change(LONG, &|| false), Change::Outdated));
    assert_eq!(cloud.posts(), 0);

    let (cloud, mut half_way) = half_moved();
    assert!(matches!(
        half_way.change(LONG, &|| false),
        Change::Running(_)
    ));
    cloud.end_actions();
    assert!(matches!(half_way.look(LONG), Look::Ours));

    let (cloud, mut overtaken) = half_moved();
    cloud.set_aliases(44, 7, &[v4(ALIAS)]);
    assert!(matches!(
        overtaken.change(LONG, &|| false),
        Change::Outdated
    ));
    assert_eq!(cloud.posts(), 1);
}

#[test]
fn votes_that_become_old_while_a_release_may_be_running_do_not_end_its_move() {
    let cloud = Cloud::start(Settings {
        action_time: LONG,
        ..settings()
    })
    .unwrap();
    let order = order(&cloud, Action::Alias, ALIAS, "");
    let mut provider = client(&order, Goal::Here, &Arc::default());
    let lost = Fault::StartThen(Box::new(Fault::Close));
    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), lost);
    let change = provider.change(LONG, &|| true);
    assert!(matches!(&change, Change::Running(_)), "{change:?}");
    // It is still shown at its old server.
    let change = provider.change(LONG, &|| false);
    assert!(matches!(&change, Change::Unready(_)), "{change:?}");
    assert_eq!((cloud.posts(), cloud.holder(ip(ALIAS))), (1, Some(42)));
    cloud.end_actions();
    let change = provider.change(LONG, &|| false);
    assert!(matches!(&change, Change::Running(_)), "{change:?}");
    cloud.end_actions();
    assert!(matches!(provider.look(LONG), Look::Ours));
    all_survived(&cloud);
}

#[test]
fn of_several_side_by_side_no_more_than_one_is_on_no_server() {
    let all = [ALIAS, "10.0.0.1", "10.0.0.2", "10.0.0.4"];
    let mut settings = settings();
    settings.servers[0].private[0].aliases.push(v4(all[3]));
    let cloud = Cloud::start(Settings {
        // With the clock of these tests, 3 s and 5 s.
        action_time: Duration::from_millis(60),
        release_time: Duration::from_millis(100),
        ..settings
    })
    .unwrap();
    let shared = Arc::default();
    let mut most = 0;
    std::thread::scope(|scope| {
        let moves = all.map(|ip| {
            let (cloud, shared) = (&cloud, &shared);
            scope.spawn(move || {
                let order = order(cloud, Action::Alias, ip, "");
                run(&order, &mut *client(&order, Goal::Here, shared)).is_routed();
            })
        });
        while !moves.iter().all(|one| one.is_finished()) {
            // In this order, what is in neither list was on no server all the while.
            let there = cloud.aliases(42, 7);
            let here = cloud.aliases(43, 7);
            let nowhere = all.map(v4).into_iter().filter(|ip| !there.contains(ip));
            most = nowhere.filter(|ip| !here.contains(ip)).count().max(most);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(most, 1);
    let ours = cloud.aliases(43, 7);
    assert!(all.iter().all(|ip| ours.contains(&v4(ip))), "{ours:?}");
}

#[test]
fn a_move_is_not_begun_without_the_time_for_it() {
    let cloud = start();
    let order = order(&cloud, Action::Alias, ALIAS, "");
    let mut late = client(&order, Goal::Here, &Arc::default());
    let short = Duration::from_secs(19);
    let change = late.change(short, &|| true);
    assert!(matches!(&change, Change::Limited(_)), "{change:?}");
    assert_eq!((cloud.posts(), cloud.holder(ip(ALIAS))), (0, Some(42)));
    let (_cloud, mut half_way) = half_moved();
    assert!(matches!(
        half_way.change(short, &|| true),
        Change::Running(_)
    ));
}

#[test]
fn the_turn_is_kept_while_nobody_has_the_address() {
    let shared = Arc::default();
    let (cloud, mut half_way) = half_moved_beside(&shared);
    let second = order(&cloud, Action::Alias, "10.0.0.1", "");
    let mut second = client(&second, Goal::Here, &shared);
    let refusal = Refusal::IpNotAvailable;
    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), refusal);
    let change = half_way.change(LONG, &|| true);
    assert!(matches!(&change, Change::Failing(_)), "{change:?}");
    let short = Duration::from_millis(300);
    assert!(matches!(second.change(short, &|| true), Change::Unready(_)));
    drop(half_way);
    assert!(matches!(second.change(LONG, &|| true), Change::Running(_)));
}

/// Server 43 is attached to two Networks whose ranges contain the address.
fn two_networks(aliases: &[(u64, u64)]) -> Cloud {
    let settings = Settings::default();
    let here = |server: u64, network: u64| match aliases.contains(&(server, network)) {
        true => vec![v4(ALIAS)],
        false => Vec::new(),
    };
    let server = |id: u64, host: u8| {
        let address = |third| Ipv4Addr::new(10, 0, third, host);
        Server::new(id, &format!("node{}", id - 41))
            .attached(7, address(1), &here(id, 7))
            .attached(8, address(2), &here(id, 8))
    };
    Cloud::start(Settings {
        servers: vec![server(42, 2), server(43, 3)],
        networks: vec![
            Network::new(7, "net", v4("10.0.0.0"), 16),
            Network::new(8, "other", v4("10.0.0.0"), 8),
        ],
        ..settings
    })
    .unwrap()
}

#[test]
fn of_several_networks_it_is_the_one_with_the_alias_or_the_one_that_is_named() {
    let cloud = two_networks(&[(42, 8)]);
    move_alias(&cloud, "").is_routed();
    assert_eq!(cloud.aliases(43, 8), addresses(&[ALIAS]));
    for none_or_both in [&[][..], &[(42, 7), (42, 8)], &[(43, 7), (42, 8)]] {
        let cloud = two_networks(none_or_both);
        let text = move_alias(&cloud, "").failure(true);
        assert!(
            text.contains("(net (7), other (8))") && text.contains("network="),
            "{text}"
        );
        assert_eq!(cloud.posts(), 0);
        move_alias(&cloud, "network=other").is_routed();
        assert_eq!(cloud.aliases(43, 8), addresses(&[ALIAS]));
        let rest = [cloud.aliases(42, 7), cloud.aliases(43, 7)].concat();
        assert_eq!(rest.len(), none_or_both.len() / 2, "another address");
    }
}

#[test]
fn a_network_that_does_not_fit_is_a_final_mistake() {
    let cloud = start();
    for (ip, keys, expected) in [
        (ALIAS, "network=lan", "there is no Network lan"),
        (ALIAS, "network=9", "server 43 is not attached to Network 9"),
        (
            "10.1.0.1",
            "",
            "that server 43 is attached to contains 10.1.0.1",
        ),
        (
            "10.0.1.2",
            "",
            "the address of server node1 (42) itself in Network 7",
        ),
        (ALIAS, "server=99", "there is no server 99"),
        (ALIAS, "server=node9", "there is no server node9"),
    ] {
        let text = take(&cloud, Action::Alias, ip, keys).failure(true);
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(cloud.posts(), 0);
}

#[test]
fn the_same_address_in_a_foreign_network_is_left_alone() {
    let mut settings = settings();
    settings.servers[0].private[0].network = 8;
    settings
        .networks
        .push(Network::new(8, "other", v4("10.0.0.0"), 16));
    let cloud = Cloud::start(settings).unwrap();
    move_alias(&cloud, "").is_routed();
    assert!(cloud.aliases(42, 8).contains(&v4(ALIAS)));
    assert!(cloud.aliases(43, 7).contains(&v4(ALIAS)));
}

#[test]
fn the_holder_is_found_on_any_page() {
    let mut settings = settings();
    let mut holder = settings.servers.remove(0);
    for number in 0..120 {
        settings
            .servers
            .push(Server::new(1000 + number, &format!("other{number}")));
    }
    holder.id = 42;
    settings.servers.push(holder);
    let cloud = Cloud::start(settings).unwrap();
    let mut provider = {
        let order = order(&cloud, Action::Alias, ALIAS, "");
        client(&order, Goal::Here, &Arc::default())
    };
    let Look::Elsewhere { to, settled: true } = provider.look(LONG) else {
        panic!("not elsewhere");
    };
    assert_eq!(to.as_deref(), Some("server node1 (42)"));
    assert_eq!(cloud.count(Requests::SERVERS), 3);
    move_alias(&cloud, "").is_routed();
    all_survived(&cloud);
}

#[test]
fn it_is_taken_off_every_server_by_hand() {
    let cloud = start();
    let order = order(&cloud, Action::Alias, ALIAS, "");
    let mut provider = client(&order, Goal::Nowhere, &Arc::default());
    run(&order, &mut *provider).is_routed();
    assert_eq!(cloud.holder(ip(ALIAS)), None);
    assert_eq!(cloud.posts(), 1);
    assert_eq!(cloud.aliases(42, 7), addresses(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(cloud.actions()[0].status, Status::Success);
    let mut provider = client(&order, Goal::Nowhere, &Arc::default());
    assert!(matches!(provider.look(LONG), Look::Ours));
    assert!(matches!(provider.change(LONG, &|| true), Change::Found));
}
