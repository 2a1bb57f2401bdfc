//! Floating IPs.

use testbed::cloud::{Access, Fault, FloatingIp, Method, Quirk, Refusal, Requests, Settings, When};

use super::*;

const WEB: &str = "131.232.99.1";

fn move_web(cloud: &Cloud, keys: &str) -> Ended {
    take(cloud, Action::Floating, WEB, keys)
}

#[test]
fn it_is_assigned_by_one_request_and_confirmed_by_a_read() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let ended = move_web(&cloud, "");
    ended.is_routed();
    assert_eq!(cloud.holder(ip(WEB)), Some(43));
    let asked: Vec<String> = cloud
        .requests()
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(
        asked,
        [
            "GET /v1/floating_ips?page=1&per_page=50",
            "POST /v1/floating_ips/4711/actions/assign",
            "GET /v1/actions/1337",
            "GET /v1/floating_ips/4711",
        ]
    );
    assert_eq!((ended.report.requests, ended.report.changes), (4, 1));
    assert_eq!(cloud.connections(), 1);
}

#[test]
fn what_is_here_already_is_left_alone() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let ended = move_web(&cloud, "server=42");
    ended.is_routed();
    assert_eq!((cloud.posts(), ended.report.requests), (0, 1));
}

#[test]
fn a_server_that_is_given_by_its_name_is_asked_for_once() {
    // An id is known without a request, but a check reads the server.
    for (keys, by_name) in [("server=43", 0), ("server=node2", 1)] {
        let cloud = Cloud::start(Settings::default()).unwrap();
        let order = order(&cloud, Action::Floating, WEB, keys);
        let asked = || cloud.requests().len();
        let new = || client(&order, Goal::Here, &Arc::default());
        assert!(matches!(new().look(LONG), Look::Elsewhere { .. }));
        assert_eq!(asked(), 1 + by_name, "a look, {keys}");
        let survey = survey_of(&order);
        assert!(survey.server.is_ok() && survey.address.unwrap().is_ok());
        assert_eq!(asked(), 3 + by_name, "a check, {keys}");
        let ended = run(&order, &mut *new());
        ended.is_routed();
        assert_eq!(asked(), 7 + 2 * by_name, "{keys}");
    }
}

#[test]
fn an_ipv6_address_is_found_by_its_network() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    take(&cloud, Action::Floating, "2001:db8::/64", "").is_routed();
    assert_eq!(cloud.holder(ip("2001:db8::")), Some(43));
    assert_eq!(cloud.holder(ip(WEB)), Some(42));
}

#[test]
fn it_is_found_on_any_page() {
    let mut settings = Settings::default();
    for number in 0..120_u8 {
        let address = ip(&format!("198.51.100.{number}"));
        let other = FloatingIp::new(u64::from(number) + 1, address, None);
        settings.floating_ips.insert(0, other);
    }
    let cloud = Cloud::start(settings).unwrap();
    move_web(&cloud, "").is_routed();
    assert_eq!(cloud.count(Requests::FLOATING_IPS), 3);
}

#[test]
fn a_list_that_points_backwards_is_not_read_forever() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let page = |next: &str| Fault::Answer {
        status: 200,
        headers: Vec::new(),
        body: format!(
            "{{\"floating_ips\":[],\"meta\":{{\"pagination\":{{\"next_page\":{next}}}}}}}"
        )
        .into_bytes(),
    };
    for next in ["2", "1", "2", "2"] {
        cloud.order(When::Once(Requests::FLOATING_IPS), page(next));
    }
    let ended = move_web(&cloud, "");
    ended.is_routed();
    let said = ended.lines.join("\n");
    assert!(said.contains("the Cloud API's list does not end"), "{said}");
    assert_eq!(cloud.count(Requests::FLOATING_IPS), 5);
}

#[test]
fn passing_trouble_is_tried_again() {
    for refusal in [
        Refusal::Locked,
        Refusal::Conflict,
        Refusal::ResourceUnavailable,
        Refusal::RateLimitExceeded,
        Refusal::Unavailable,
    ] {
        let cloud = Cloud::start(Settings::default()).unwrap();
        cloud.order(When::Times(Requests::ASSIGN, 2), refusal);
        let ended = move_web(&cloud, "");
        ended.is_routed();
        assert_eq!(cloud.posts(), 3, "{refusal:?}");
        let said = ended.lines.join("\n");
        let said_why = said.contains(&format!("{} {}", refusal.status(), refusal.code()));
        assert!(said_why && said.contains("X-Correlation-Id c10d"), "{said}");
        // Requests that were refused because of their number are no changes.
        let counted = match refusal {
            Refusal::RateLimitExceeded => 1,
            _ => 3,
        };
        assert_eq!(ended.report.changes, counted, "{refusal:?}");
        assert_eq!(ended.report.retries(), counted - 1, "{refusal:?}");
    }
    for kind in [
        Requests::FLOATING_IPS,
        Requests::ACTION,
        Requests::FLOATING_IP,
    ] {
        for fault in [
            Refusal::RateLimitExceeded.into(),
            Fault::Close,
            Fault::Garbage,
        ] {
            let cloud = Cloud::start(Settings::default()).unwrap();
            cloud.order(When::Times(kind.clone(), 2), fault);
            move_web(&cloud, "").is_routed();
        }
    }
}

#[test]
fn an_assignment_that_is_done_and_not_answered_is_found() {
    for fault in [
        Fault::ApplyThen(Box::new(Fault::Close)),
        Fault::ApplyThen(Box::new(Refusal::Timeout.into())),
        Fault::StartThen(Box::new(Fault::Truncate)),
        Fault::ApplyThen(Box::new(Fault::Oversize { bytes: 3 << 20 })),
    ] {
        let cloud = Cloud::start(Settings::default()).unwrap();
        cloud.order(When::Once(Requests::ASSIGN), fault.clone());
        move_web(&cloud, "").is_routed();
        assert_eq!(cloud.actions().len(), 1, "{fault:?}");
    }
}

#[test]
fn an_action_that_fails_is_followed_by_another() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.order(When::Once(Requests::ASSIGN), Fault::action_fails());
    let ended = move_web(&cloud, "");
    ended.is_routed();
    assert_eq!(cloud.posts(), 2);
    let said = ended.lines.join("\n");
    let expected = "action 1337 assign_floating_ip has failed: action_failed (Action failed)";
    assert!(said.contains(expected), "{said}");

    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.order(When::Once(Requests::ASSIGN), Fault::action_fails_applied());
    move_web(&cloud, "").is_routed();
    assert_eq!(cloud.posts(), 1);
}

#[test]
fn an_error_beside_a_success_is_ignored() {
    let cloud = Cloud::start(Settings {
        error_beside_success: true,
        ..Settings::default()
    })
    .unwrap();
    move_web(&cloud, "").is_routed();
    assert_eq!(cloud.posts(), 1);
}

#[test]
fn a_success_is_believed_when_a_read_shows_it() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let lag = Quirk::StaleReads(Duration::from_millis(100));
    cloud.order(When::Once(Requests::ASSIGN), lag);
    move_web(&cloud, "").is_routed();
    assert_eq!(cloud.posts(), 1);

    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.order(When::Once(Requests::ASSIGN), Quirk::ActionWithoutEffect);
    move_web(&cloud, "").is_routed();
    assert_eq!(cloud.posts(), 2);
}

#[test]
fn a_read_that_shows_another_server_undoes_nothing() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let wrong = Quirk::BadRead(Some(44));
    cloud.order(When::Once(Requests::FLOATING_IPS), wrong);
    move_web(&cloud, "server=42").is_routed();
    // 422 floating_ip_assigned, and then a read.
    assert_eq!((cloud.posts(), cloud.actions().len()), (1, 0));
}

#[test]
fn an_action_that_cannot_be_found_is_not_asked_for_again() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.order(When::Always(Requests::ACTION), Refusal::NotFound);
    move_web(&cloud, "").is_routed();
    assert_eq!((cloud.posts(), cloud.count(Requests::ACTION)), (1, 1));
}

#[test]
fn final_refusals_say_what_to_do() {
    let blocked = FloatingIp {
        blocked: true,
        ..FloatingIp::new(4713, ip("131.232.99.3"), None)
    };
    let mut settings = Settings::default();
    settings.floating_ips.push(blocked);
    let cloud = Cloud::start(settings).unwrap();
    for (ip, keys, expected) in [
        ("131.232.99.3", "", "Hetzner has blocked this Floating IP"),
        ("131.232.99.9", "", "there is no Floating IP 131.232.99.9"),
        (WEB, "server=99", "check endpoint, and that the token"),
        (WEB, "server=node9", "there is no server node9"),
    ] {
        let text = take(&cloud, Action::Floating, ip, keys).failure(true);
        assert!(text.contains(expected), "{text}");
    }
    cloud.set_access(Access::Read);
    let text = move_web(&cloud, "").failure(true);
    assert!(text.contains("this token may only read"), "{text}");
    cloud.set_token("other");
    let text = move_web(&cloud, "").failure(true);
    let said = text.contains("refused the token (401 unauthorized (the token you have");
    assert!(said && text.contains("check token or token_file"), "{text}");
}

#[test]
fn a_blocked_address_that_is_here_is_warned_of() {
    let mut settings = Settings::default();
    settings.floating_ips[0].blocked = true;
    let cloud = Cloud::start(settings).unwrap();
    let ended = move_web(&cloud, "server=42");
    ended.is_routed();
    let expected = "WARNING Hetzner has blocked this Floating IP, see the Cloud Console";
    assert_eq!(ended.lines, [expected]);
}

#[test]
fn a_redirect_is_not_followed() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let redirect = Fault::Redirect {
        status: 302,
        location: "https://thief.example/".into(),
    };
    cloud.order(When::Once(Requests::ALL), redirect);
    let text = move_web(&cloud, "").failure(true);
    assert!(
        text.contains("would send the token to thief.example"),
        "{text}"
    );
    assert_eq!(cloud.requests().len(), 1);
}

#[test]
fn a_token_that_the_api_sends_back_is_not_shown() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let echo = Fault::error(403, "forbidden", &Settings::default().token);
    cloud.order(When::Once(Requests::ALL), echo);
    let text = move_web(&cloud, "").failure(true);
    assert!(text.contains("forbidden (***)"), "{text}");
}

#[test]
fn the_api_without_connection_is_left_to_another_node() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.refuse_connections();
    let text = move_web(&cloud, "").failure(false);
    assert!(text.contains("no connection for"), "{text}");
}

#[test]
fn it_is_unassigned_by_hand() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let order = order(&cloud, Action::Floating, WEB, "");
    let unassign = || {
        run(&order, &mut *client(&order, Goal::Nowhere, &Arc::default())).is_routed();
        assert_eq!((cloud.holder(ip(WEB)), cloud.posts()), (None, 1));
    };
    unassign();
    let requests = cloud.requests();
    let post = requests.iter().find(|one| one.method == "POST").unwrap();
    assert_eq!(post.header("Content-Length"), Some("0"));
    unassign();
    let mut provider = client(&order, Goal::Nowhere, &Arc::default());
    assert!(matches!(provider.change(LONG, &|| true), Change::Found));
}

fn metadata(id: Option<u64>) -> testbed::cloud::Metadata {
    testbed::cloud::Metadata::start(([127, 0, 0, 1], 0).into(), id).unwrap()
}

/// A process that forgets failures of the metadata service after 5 s, with the clock of these tests.
fn shared(metadata: &testbed::cloud::Metadata) -> Arc<provider::Shared> {
    shared_with(metadata, Duration::from_secs(5) / FASTER)
}

fn shared_with(metadata: &testbed::cloud::Metadata, memory: Duration) -> Arc<provider::Shared> {
    Arc::new(provider::Shared {
        cloud: Shared {
            metadata: Arc::new(Metadata::at_base(&metadata.url(), memory)),
            ..Shared::default()
        },
    })
}

#[test]
fn the_metadata_service_is_asked_which_server_this_is_once() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let metadata = metadata(Some(43));
    metadata.order(
        testbed::mock::When::Once(Method::Get),
        testbed::mock::Fault::page(503),
    );
    let shared = shared(&metadata);
    let order = order(&cloud, Action::Floating, WEB, "metadata");
    let take = || run(&order, &mut *client(&order, Goal::Here, &shared));
    take().is_routed();
    assert_eq!(cloud.holder(ip(WEB)), Some(43));
    cloud.set_holder(ip(WEB), Some(42));
    take().is_routed();
    assert_eq!(metadata.requests().len(), 2);
    let asked = metadata.requests().remove(0);
    assert!(asked.header("Authorization").is_none());
}

#[test]
fn addresses_share_a_failure_of_the_metadata_service() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let metadata = metadata(Some(43));
    metadata.order(
        testbed::mock::When::Always(Method::Get),
        testbed::mock::Fault::page(503),
    );
    let order = order(&cloud, Action::Floating, WEB, "metadata");
    let shared = shared_with(&metadata, LONG);
    let look = || client(&order, Goal::Here, &shared).look(LONG);
    std::thread::scope(|scope| {
        let looks = [(); 4].map(|()| scope.spawn(look));
        for look in looks.map(|look| look.join().unwrap()) {
            assert!(matches!(&look, Look::Unanswered(_)), "{look:?}");
        }
    });
    assert!(matches!(look(), Look::Unanswered(_)));
    assert_eq!(metadata.requests().len(), 1);
}

#[test]
fn a_failure_for_want_of_time_is_not_shared() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let metadata = metadata(Some(43));
    let hang = testbed::mock::Fault::Hang;
    metadata.order(testbed::mock::When::Once(Method::Get), hang);
    let order = order(&cloud, Action::Floating, WEB, "metadata");
    let shared = shared_with(&metadata, LONG);
    let look = |within| client(&order, Goal::Here, &shared).look(within);
    let short = look(Duration::from_millis(200));
    assert!(matches!(&short, Look::NotConnected(_)), "{short:?}");
    let long = look(LONG);
    assert!(matches!(&long, Look::Elsewhere { .. }), "{long:?}");
}

#[test]
fn a_host_that_is_no_cloud_server_needs_the_key() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let metadata = metadata(None);
    let order = order(&cloud, Action::Floating, WEB, "metadata");
    let take = || run(&order, &mut *client(&order, Goal::Here, &shared(&metadata)));
    for text in ["", "<html>", "42x", "-1", "99999999999999999999999"] {
        let said = take().failure(true);
        assert!(said.contains("write server=ID or server=NAME"), "{said}");
        metadata.set_id_text(text);
    }
    assert!(cloud.requests().is_empty());
    metadata.refuse_connections();
    let said = take().failure(false);
    assert!(
        said.contains("did not tell") && said.contains("no connection for"),
        "{said}"
    );
}

#[test]
fn an_action_that_never_ends_is_waited_for_until_the_deadline() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let never = Quirk::ActionTakes(Duration::MAX);
    cloud.order(When::Once(Requests::ASSIGN), never);
    let text = move_web(&cloud, "deadline=60").failure(false);
    let expected =
        "action 1337 assign_floating_ip is running; a switch is running (the deadline of";
    assert!(text.contains(expected), "{text}");
    assert_eq!(cloud.posts(), 1);
}

#[test]
fn no_call_takes_longer_than_it_may() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.order(When::Always(Requests::ALL), Fault::Hang);
    let order = order(&cloud, Action::Floating, WEB, "server=node2");
    let mut provider = client(&order, Goal::Here, &Arc::default());
    let short = Duration::from_millis(200);
    let began = Instant::now();
    assert!(matches!(provider.look(short), Look::Unanswered(_)));
    assert!(matches!(
        provider.change(short, &|| true),
        Change::Unready(_)
    ));
    assert!(matches!(
        provider.change(Duration::ZERO, &|| true),
        Change::Unready(_)
    ));
    assert!(began.elapsed() < order.timeout);
    assert_eq!((cloud.requests().len(), provider.requests()), (2, 2));
}

#[test]
fn what_runs_is_not_requested_again_while_nothing_is_heard_of_it() {
    for refusal in [Refusal::RateLimitExceeded, Refusal::Unavailable] {
        let cloud = Cloud::start(Settings {
            // With the clock of these tests, 15 s.
            action_time: Duration::from_millis(300),
            ..Settings::default()
        })
        .unwrap();
        cloud.order(When::Times(Requests::ACTION, 5), refusal);
        move_web(&cloud, "").is_routed();
        assert_eq!(cloud.posts(), 1, "{refusal:?}");
        let asked = cloud.requests().into_iter();
        let refused = asked.filter(|one| one.status.is_some_and(|status| status >= 429));
        let at: Vec<Instant> = refused.map(|one| one.at).collect();
        let least = Duration::from_secs(2) / FASTER;
        assert!(
            at.windows(2).all(|pair| pair[1] - pair[0] >= least),
            "{at:?}"
        );
    }
}
