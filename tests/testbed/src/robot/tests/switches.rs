//! Switches: how they are answered while they run, and what the webservice shows meanwhile.

use super::*;

const DELETE: &str = "DELETE /failover/4.4.4.4";

fn slow() -> Robot {
    plain(Settings {
        switch_time: Duration::from_secs(3600),
        ..Settings::default()
    })
}

/// While a switch of 4.4.4.4 away from 2.2.2.2 is running.
#[track_caller]
fn is_switching(robot: &Robot) {
    for shown in [true, false] {
        robot.show_status(shown);
        let (status, body) = ask(robot, &request(GET, None));
        let failover = &body["failover"];
        assert_eq!(
            (status, &failover["active_server_ip"]),
            (200, &"2.2.2.2".into())
        );
        let expected = shown.then_some("processing");
        assert_eq!(failover.get("status").and_then(Value::as_str), expected);
    }
    robot.show_status(true);
    for text in [post("3.3.3.3"), request(DELETE, None)] {
        let locked = (409, "FAILOVER_LOCKED".to_owned());
        assert_eq!(refusal(robot, &text), locked, "{text}");
    }
}

#[test]
fn an_early_answer_names_the_old_server_and_the_switch_goes_on() {
    let robot = slow();
    robot.order(When::Always(Method::Post), Fault::early());
    let (status, body) = ask(&robot, &post("1.1.1.1"));
    assert_eq!(status, 200);
    assert_eq!(body["failover"]["active_server_ip"], "2.2.2.2");
    assert_eq!(body["failover"]["status"], "processing");
    is_switching(&robot);
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    assert_eq!(
        refusal(&robot, &post("1.1.1.1")).1,
        "FAILOVER_ALREADY_ROUTED"
    );
    // It ends by itself as well, even if no client waits for it.
    robot.set_switch_time(Duration::from_millis(20));
    assert_eq!(ask(&robot, &post("3.3.3.3")).0, 200);
    assert!(robot.wait_for_route(ip("4.4.4.4"), Some(ip("3.3.3.3")), LONG));
}

#[test]
fn a_lost_answer_keeps_the_connection_and_the_switch_outlives_the_client() {
    let robot = slow();
    robot.order(When::Always(Method::Post), Fault::lost());
    let mut client = connect(&robot);
    client.write_all(post("1.1.1.1").as_bytes()).unwrap();
    assert!(robot.wait_for_requests(Method::Post, 1, LONG));
    is_switching(&robot);
    drop(client);
    assert!(robot.wait_for_no_connections(LONG));
    is_switching(&robot);
    let unanswered = robot.requests()[0].status;
    assert_eq!(unanswered, None);
}

#[test]
fn a_lost_answer_ends_with_a_reset_after_its_time() {
    let robot = slow();
    let time = Duration::from_millis(30);
    robot.order(When::Always(Method::Any), Fault::lost_after(time));
    let began = Instant::now();
    let error = ask_on(&mut connect(&robot), &post("1.1.1.1")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= time);
    is_switching(&robot);
}

#[test]
fn an_answer_in_time_is_held_open_and_comes_although_another_client_left() {
    let robot = slow();
    let mut left = connect(&robot);
    left.write_all(post("1.1.1.1").as_bytes()).unwrap();
    assert!(robot.wait_for_requests(Method::Post, 1, LONG));
    drop(left);
    is_switching(&robot);
    robot.set_route(ip("4.4.4.4"), None);
    robot.set_switch_time(Duration::from_millis(20));
    let (status, body) = ask(&robot, &post("1.1.1.1"));
    assert_eq!(
        (status, &body["failover"]["active_server_ip"]),
        (200, &"1.1.1.1".into())
    );
}

#[test]
fn a_delete_unroutes_and_takes_its_time() {
    let robot = plain(Settings {
        switch_time: Duration::from_millis(20),
        ..Settings::default()
    });
    let (status, body) = ask(&robot, &request(DELETE, None));
    assert_eq!(status, 200);
    assert!(body["failover"]["active_server_ip"].is_null());
    assert_eq!(robot.route(ip("4.4.4.4")), None);
    let (_, body) = ask(&robot, &request(GET, None));
    assert!(body["failover"]["active_server_ip"].is_null());
    let unknown = request("DELETE /failover/5.5.5.5", None);
    assert_eq!(refusal(&robot, &unknown), (404, "NOT_FOUND".to_owned()));
    for (fault, code) in [
        (Fault::failed(), "FAILOVER_FAILED"),
        (Fault::not_complete(), "FAILOVER_NOT_COMPLETE"),
    ] {
        robot.order(When::Once(Method::Delete), fault);
        assert_eq!(
            refusal(&robot, &request(DELETE, None)),
            (500, code.to_owned())
        );
    }
    // While one runs, the old route stays, and everything else is locked.
    robot.set_route(ip("4.4.4.4"), Some(ip("2.2.2.2")));
    robot.set_switch_time(Duration::from_secs(3600));
    robot.order(When::Once(Method::Delete), Fault::early());
    assert_eq!(ask(&robot, &request(DELETE, None)).0, 200);
    is_switching(&robot);
}

#[test]
fn an_ipv4_subnet_is_switched_as_a_whole() {
    let robot = plain(Settings {
        failovers: vec![
            (ip("4.4.4.0"), Some(ip("2.2.2.2"))),
            (ip("4.4.4.8"), Some(ip("2.2.2.2"))),
        ],
        subnets: vec![(ip("4.4.4.0"), 29)],
        ..Settings::default()
    });
    for host in ["4.4.4.0", "4.4.4.4", "4.4.4.7"] {
        let (status, body) = ask(&robot, &request(&format!("GET /failover/{host}"), None));
        assert_eq!((status, &body["failover"]["ip"]), (200, &"4.4.4.0".into()));
        assert_eq!(body["failover"]["netmask"], "255.255.255.248");
    }
    let (status, body) = ask(&robot, &post("1.1.1.1")); // to 4.4.4.4
    assert_eq!((status, &body["failover"]["ip"]), (200, &"4.4.4.0".into()));
    assert_eq!(robot.route(ip("4.4.4.0")), Some(ip("1.1.1.1")));
    assert_eq!(robot.route(ip("4.4.4.7")), Some(ip("1.1.1.1")));
    assert_eq!(robot.route(ip("4.4.4.8")), Some(ip("2.2.2.2")));
    assert_eq!(
        refusal(&robot, &post("1.1.1.1")).1,
        "FAILOVER_ALREADY_ROUTED"
    );
    robot.lock(ip("4.4.4.1"), LONG, true);
    assert_eq!(refusal(&robot, &post("3.3.3.3")).1, "FAILOVER_LOCKED");

    let started = Robot::start(Settings {
        subnets: vec![(ip("5.5.5.0"), 29)],
        ..Settings::default()
    });
    let error = started.err().unwrap();
    assert!(error.to_string().contains("5.5.5.0/29"), "{error}");
}

#[test]
fn the_servers_are_listed() {
    let robot = plain(Settings {
        failovers: vec![(ip("2a01:4f8:fff1::"), None)],
        ipv6_nets: vec![(ip("1.1.1.1"), "2a01:4f8:d0a:2003::".parse().unwrap())],
        gets_per_hour: Some(0),
        ..Settings::default()
    });
    let (status, list) = ask(&robot, &request("GET /server", None));
    assert_eq!(status, 200);
    let first = serde_json::json!({"server": {
        "server_ip": "1.1.1.1",
        "server_ipv6_net": "2a01:4f8:d0a:2003::",
        "server_number": 321,
        "server_name": "node1",
        "status": "ready",
    }});
    assert_eq!(list[0], first);
    assert_eq!(list.as_array().map(Vec::len), Some(3));
    let six = request(
        "POST /failover/2a01:4f8:fff1::",
        Some("active_server_ip=2a01:4f8:d0a:2003::"),
    );
    assert_eq!(ask(&robot, &six).0, 200);
    let nothing = plain(Settings {
        failovers: Vec::new(),
        servers: Vec::new(),
        ..Settings::default()
    });
    for (path, code) in [("/server", "SERVER_NOT_FOUND"), ("/failover", "NOT_FOUND")] {
        let text = request(&format!("GET {path}"), None);
        assert_eq!(refusal(&nothing, &text), (404, code.to_owned()));
    }
}

#[test]
fn refusals_are_those_of_reality_or_of_the_documentation() {
    let robot = plain(Settings::default());
    let hour = Duration::from_secs(3600);
    for (fault, field) in [
        (Fault::rate_limit_exceeded(50, hour), "max_requests"),
        (Fault::rate_limit_as_documented(50, hour), "max_request"),
    ] {
        robot.order(When::Once(Method::Get), fault);
        let (status, body) = ask(&robot, &request(GET, None));
        assert_eq!((status, &body["error"][field]), (403, &50.into()));
    }
    robot.order(When::Once(Method::Get), Fault::blocked());
    let mut stream = connect(&robot);
    stream.write_all(request(GET, None).as_bytes()).unwrap();
    let (status, head, body) = read_answer(&mut stream).unwrap();
    assert_eq!(status, 403);
    assert!(head.contains("Content-Type: text/html\r\n"));
    assert!(body.starts_with(b"<html>"));
}
