//! Actions: how they run, what they lock, and how they end.

use super::*;

fn slow() -> Cloud {
    plain(Settings {
        action_time: HOUR,
        ..Settings::default()
    })
}

fn status(cloud: &Cloud, id: u64) -> Value {
    ask(cloud, &get(&format!("/actions/{id}"))).1["action"]["status"].clone()
}

#[test]
fn an_action_changes_something_when_it_ends() {
    let cloud = slow();
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
    assert!(cloud.wait_for_actions(1, Duration::ZERO));
    let id = cloud.actions()[0].id;
    assert_eq!(status(&cloud, id), "running");
    assert_eq!(shown(&cloud), 42);
    assert!(!cloud.wait_for_ended_actions(1, Duration::ZERO));
    cloud.end_actions();
    assert_eq!(status(&cloud, id), "success");
    assert_eq!((shown(&cloud), cloud.holder(web())), (json!(43), Some(43)));
    // It ends by itself as well.
    cloud.set_action_time(Duration::from_millis(20));
    assert_eq!(ask(&cloud, &assign(44)).0, 201);
    assert!(cloud.wait_for_holder(web(), Some(44), LONG));
    assert!(cloud.wait_for_ended_actions(2, LONG));
    assert_eq!(cloud.actions()[1].status, Status::Success);
}

#[test]
fn a_running_action_locks_its_item_and_its_server_only() {
    let cloud = slow();
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
    let six = |server: u64| {
        let line = "POST /v1/floating_ips/4712/actions/assign";
        request(line, &json!({"server": server}).to_string())
    };
    let locked = (423, "locked".to_owned());
    for text in [assign(44), six(43)] {
        assert_eq!(refusal(&cloud, &text), locked, "{text}");
    }
    assert_eq!(ask(&cloud, &six(44)).0, 201);
    cloud.end_actions();
    cloud.lock(Item::Server(42), HOUR);
    let (_, body) = ask(&cloud, &assign(42));
    assert_eq!(
        body["error"]["message"],
        "cannot perform operation because server is locked"
    );
    cloud.lock(Item::FloatingIp(4711), HOUR);
    assert_eq!(refusal(&cloud, &assign(44)), locked);
    cloud.lock(Item::FloatingIp(4711), Duration::ZERO);
    assert_eq!(ask(&cloud, &assign(44)).0, 201);
}

#[test]
fn a_failed_action_has_its_error_and_changes_nothing_unless_it_does() {
    let cloud = plain(Settings::default());
    cloud.order(When::Once(Requests::ASSIGN), Fault::action_fails());
    cloud.order(When::Once(Requests::ASSIGN), Fault::action_fails_applied());
    for holder in [42, 43] {
        let (code, body) = ask(&cloud, &assign(43));
        assert_eq!((code, &body["action"]["status"]), (201, &json!("running")));
        let path = format!("/actions/{}", body["action"]["id"]);
        let (_, body) = ask(&cloud, &get(&path));
        assert_eq!(body["action"]["status"], "error");
        assert_eq!(body["action"]["error"]["code"], "action_failed");
        assert_eq!(cloud.holder(web()), Some(holder));
    }
    assert_eq!(cloud.actions()[0].status, Status::Error);
}

#[test]
fn an_action_may_succeed_without_effect_or_never_end() {
    let cloud = plain(Settings::default());
    cloud.order(When::Once(Requests::ASSIGN), Quirk::ActionWithoutEffect);
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
    assert_eq!(cloud.actions()[0].status, Status::Success);
    assert_eq!(cloud.holder(web()), Some(42));
    cloud.order(
        When::Once(Requests::ASSIGN),
        Quirk::ActionTakes(Duration::MAX),
    );
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
    assert_eq!(cloud.actions()[1].status, Status::Running);
    assert_eq!(refusal(&cloud, &assign(44)).1, "locked");
}

#[test]
fn a_success_may_have_an_error_beside_it() {
    let cloud = plain(Settings {
        error_beside_success: true,
        ..Settings::default()
    });
    let (_, body) = ask(&cloud, &assign(43));
    assert!(body["action"]["error"].is_null());
    let path = format!("/actions/{}", body["action"]["id"]);
    let (_, body) = ask(&cloud, &get(&path));
    assert_eq!(body["action"]["status"], "success");
    assert_eq!(body["action"]["error"]["code"], "action_failed");
}

#[test]
fn reads_may_show_the_old_server_after_the_action_and_one_may_show_another() {
    let cloud = plain(Settings::default());
    cloud.order(When::Once(Requests::ASSIGN), Quirk::StaleReads(HOUR));
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
    assert_eq!(cloud.actions()[0].status, Status::Success);
    assert_eq!((shown(&cloud), cloud.holder(web())), (json!(42), Some(43)));
    let lag = Duration::from_millis(20);
    cloud.order(When::Once(Requests::ASSIGN), Quirk::StaleReads(lag));
    let began = Instant::now();
    assert_eq!(ask(&cloud, &assign(44)).0, 201);
    while shown(&cloud) != 44 {
        assert!(began.elapsed() < LONG);
    }
    assert!(began.elapsed() >= lag);

    for wrong in [Some(42), None] {
        cloud.order(When::Once(Requests::READS), Quirk::BadRead(wrong));
        assert_eq!((shown(&cloud), shown(&cloud)), (json!(wrong), json!(44)));
        cloud.order(When::Once(Requests::SERVERS), Quirk::BadRead(wrong));
        let (_, list) = ask(&cloud, &get("/servers"));
        let floating = &list["servers"][0]["public_net"]["floating_ips"];
        let expected = wrong.map_or(json!([]), |_| json!([4711, 4712]));
        assert_eq!(*floating, expected);
    }
}

#[test]
fn events_tell_the_story_without_the_token() {
    let cloud = plain(Settings::default());
    let events = cloud.events();
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
    cloud.set_holder(web(), None);
    drop(cloud);
    let lines: Vec<String> = events.iter().map(|event| event.to_string()).collect();
    assert_eq!(
        lines[..3],
        [
            "action 1337 assign_floating_ip: running",
            "131.232.99.1 is at server 43",
            "action 1337 assign_floating_ip: success",
        ]
    );
    assert!(
        lines[3].starts_with(&format!("{ASSIGN} {{\"server\":43}}: 201 (")),
        "{}",
        lines[3]
    );
    assert_eq!(lines[4], "131.232.99.1 is at no server");
    assert_eq!(lines.len(), 5);
}
