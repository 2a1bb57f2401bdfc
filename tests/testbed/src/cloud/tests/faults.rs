//! Faults on order, for chosen requests.

use super::*;

#[test]
fn every_error_code_can_be_ordered() {
    let cloud = plain(Settings::default());
    for one in Refusal::ALL {
        assert_eq!(Refusal::of_code(one.code()), Some(one));
        cloud.order(When::Once(Requests::ASSIGN), one);
        let expected = (one.status(), one.code().to_owned());
        assert_eq!(refusal(&cloud, &assign(43)), expected);
    }
    assert_eq!(cloud.holder(web()), Some(42));
    cloud.order(When::Once(Requests::ALL), Refusal::DeprecatedApiEndpoint);
    let (_, body) = ask(&cloud, &assign(43));
    assert!(body["error"]["details"]["announcement"].is_string());
    cloud.order(
        When::Once(Requests::ALL),
        Fault::error(418, "teapot", "short"),
    );
    assert_eq!(refusal(&cloud, &assign(43)), (418, "teapot".to_owned()));
    cloud.order(When::Once(Requests::ALL), Fault::invalid_input("ip", "no"));
    let (_, body) = ask(&cloud, &assign(43));
    assert_eq!(body["error"]["details"]["fields"][0]["messages"][0], "no");
    cloud.order(When::Once(Requests::ALL), Fault::page(502));
    assert_eq!(ask(&cloud, &assign(43)), (502, Value::Null));
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
}

#[test]
fn an_order_is_for_a_method_and_a_path() {
    let cloud = plain(Settings::default());
    let node2 = Requests::matching(Method::Get, "/servers/43".to_owned());
    cloud.order(When::Always(node2.clone()), Refusal::Unavailable);
    cloud.order(When::Once(Requests::FLOATING_IPS), Fault::Nothing);
    cloud.order(When::Once(Requests::FLOATING_IPS), Refusal::Timeout);
    assert_eq!(ask(&cloud, &get("/servers/42")).0, 200);
    assert_eq!(ask(&cloud, &get("/servers/43")).0, 503);
    assert_eq!(ask(&cloud, &get("/servers/43?x=y")).0, 503);
    assert_eq!(ask(&cloud, &get("/floating_ips?page=1")).0, 200);
    assert_eq!(ask(&cloud, &get("/floating_ips?page=2")).0, 504);
    assert_eq!((cloud.count(node2), cloud.count(Requests::READS)), (2, 5));
    cloud.clear_orders();
    assert_eq!(ask(&cloud, &get("/servers/43")).0, 200);
}

#[test]
fn ordered_errors_have_the_headers_of_all_answers() {
    let cloud = plain(Settings::default());
    cloud.order(When::Once(Requests::ALL), Refusal::Conflict);
    let mut stream = connect(&cloud);
    io::Write::write_all(&mut stream, assign(43).as_bytes()).unwrap();
    let (status, head, _) = read_answer(&mut stream).unwrap();
    assert_eq!(status, 409);
    assert!(head.contains("X-Correlation-Id: ") && head.contains("RateLimit-Limit: 3600\r\n"));
}

#[test]
fn a_change_may_be_made_and_not_answered() {
    let cloud = plain(Settings::default());
    cloud.order(
        When::Once(Requests::ASSIGN),
        Fault::ApplyThen(Box::new(Fault::Close)),
    );
    cloud.set_action_time(Duration::from_millis(20));
    assert!(raw(&cloud, &assign(43)).0.is_empty());
    assert_eq!(cloud.holder(web()), Some(43));

    cloud.set_action_time(HOUR);
    cloud.order(
        When::Once(Requests::ASSIGN),
        Fault::lost_after(Duration::from_millis(20)),
    );
    let (bytes, end) = raw(&cloud, &assign(44));
    assert!(bytes.is_empty() && end.is_err());
    assert_eq!((cloud.actions().len(), shown(&cloud)), (2, json!(43)));
    // A refusal is answered.
    cloud.order(When::Once(Requests::ASSIGN), Fault::lost());
    assert_eq!(refusal(&cloud, &assign(44)).1, "locked");
    cloud.end_actions();
    assert_eq!(cloud.holder(web()), Some(44));
    cloud.order(When::Once(Requests::ASSIGN), Fault::lost());
    let mut client = connect(&cloud);
    io::Write::write_all(&mut client, assign(42).as_bytes()).unwrap();
    assert!(cloud.wait_for_actions(3, LONG));
    drop(client);
    assert!(cloud.wait_for_no_connections(LONG));
    assert_eq!(cloud.requests().last().unwrap().status, None);
}

#[test]
fn the_faults_of_the_connection_are_those_of_the_mock_robot() {
    let cloud = plain(Settings::default());
    let order = |fault: Fault| cloud.order(When::Once(Requests::ALL), fault);
    order(Fault::Truncate);
    order(Fault::Garbage);
    order(Fault::Reset);
    order(Fault::CutHandshake);
    order(Fault::Redirect {
        status: 307,
        location: "https://other.example/".to_owned(),
    });
    order(Fault::Oversize { bytes: 100_000 });
    order(Fault::Drip {
        every: Duration::ZERO,
    });
    let text = request(FLOATING_IP, "");
    assert!(raw(&cloud, &text).0.is_empty(), "the handshake is cut");
    let (bytes, _) = raw(&cloud, &text);
    let error = read_answer(&mut &bytes[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(raw(&cloud, &text).0.starts_with(b"\0"));
    let error = raw(&cloud, &text).1.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(ask(&cloud, &text).0, 307);
    let mut stream = connect(&cloud);
    io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
    let (_, _, body) = read_answer(&mut stream).unwrap();
    assert!(body.starts_with(b"{\"floating_ip\":{") && body.len() == 100_000);
    let (status, body) = ask(&cloud, &text);
    assert_eq!((status, &body["floating_ip"]["id"]), (200, &json!(4711)));
    assert_eq!(shown(&cloud), 42);
}

#[test]
fn dropping_it_ends_whatever_hangs() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    cloud.order(When::Once(Requests::ALL), Fault::Hang);
    cloud.order(When::Once(Requests::ALL), Quirk::ActionTakes(Duration::MAX));
    cloud.order(
        When::Once(Requests::ALL),
        Fault::ApplyThen(Box::new(Fault::Close)),
    );
    let mut streams: Vec<_> = (0..3).map(|_| tls(&cloud).unwrap()).collect();
    cloud.set_action_time(HOUR);
    for (stream, server) in streams.iter_mut().zip([43, 43, 44]) {
        io::Write::write_all(stream, assign(server).as_bytes()).unwrap();
    }
    assert!(cloud.wait_for_requests(Requests::ASSIGN, 3, LONG));
    let began = Instant::now();
    drop(cloud);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_token_with_a_star_stands_for_all_that_begin_so() {
    let token = "token0123456789*".to_owned();
    let cloud = plain(Settings {
        token,
        ..Settings::default()
    });
    assert_eq!(ask(&cloud, &get("/servers")).0, 200);
    let other = get("/servers").replace("Bearer token0123456789", "Bearer token012345678");
    assert_eq!(refusal(&cloud, &other), (401, "unauthorized".to_owned()));
}
