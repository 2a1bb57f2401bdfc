//! Each fault, as the client sees it.

use super::*;

fn struck_by(fault: Fault) -> Robot {
    let robot = plain(Settings::default());
    robot.order(When::Once(Method::Any), fault);
    robot
}

#[test]
fn no_answer() {
    for (fault, expected) in [
        (Fault::Close, Ok(())),
        (Fault::Reset, Err(io::ErrorKind::ConnectionReset)),
        (Fault::CutHandshake, Ok(())),
        (
            Fault::Delay(Duration::from_millis(20), Box::new(Fault::Close)),
            Ok(()),
        ),
    ] {
        let robot = struck_by(fault.clone());
        let (bytes, end) = raw(&robot, &post("1.1.1.1"));
        assert!(bytes.is_empty(), "{fault:?}");
        assert_eq!(end.map_err(|error| error.kind()), expected, "{fault:?}");
        assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("2.2.2.2")), "{fault:?}");
        assert!(robot.requests().iter().all(|r| r.status.is_none()));
        assert_eq!(ask(&robot, &post("1.1.1.1")).0, 200, "only once: {fault:?}");
    }
}

#[test]
fn a_reset_arrives_through_tls_as_well() {
    let robot = Robot::start(Settings::default()).unwrap();
    robot.order(When::Once(Method::Any), Fault::Reset);
    let mut stream = tls(&robot).unwrap();
    let error = ask_on(&mut stream, &request(GET, None)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    robot.order(When::Once(Method::Any), Fault::CutHandshake);
    let error = tls(&robot).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(tls(&robot).is_ok());
}

#[test]
fn hanging_ends_with_the_peer() {
    let robot = struck_by(Fault::Hang);
    let mut stream = connect(&robot);
    stream.write_all(post("1.1.1.1").as_bytes()).unwrap();
    assert!(robot.wait_for_requests(Method::Post, 1, LONG));
    drop(stream);
    assert!(robot.wait_for_no_connections(LONG));
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("2.2.2.2")));
}

#[test]
fn broken_answers() {
    let half = struck_by(Fault::Truncate);
    let (bytes, _) = raw(&half, &post("1.1.1.1"));
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
    let error = read_answer(&mut &bytes[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(half.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));

    let (bytes, end) = raw(&struck_by(Fault::Garbage), &post("1.1.1.1"));
    assert!(!bytes.starts_with(b"HTTP") && !bytes.is_empty() && end.is_ok());

    let exact = Fault::Raw(b"abc".to_vec());
    assert_eq!(raw(&struck_by(exact), &post("1.1.1.1")).0, b"abc");

    let robot = struck_by(Fault::Compressed);
    let mut stream = connect(&robot);
    stream.write_all(post("1.1.1.1").as_bytes()).unwrap();
    let (status, head, body) = read_answer(&mut stream).unwrap();
    assert_eq!((status, &body[..2]), (200, &b"\x1f\x8b"[..]));
    assert!(head.contains("Content-Encoding: gzip\r\n"));
}

#[test]
fn other_answers() {
    let redirect = Fault::Redirect {
        status: 307,
        location: "https://other.example/".to_owned(),
    };
    let robot = struck_by(redirect);
    let mut stream = connect(&robot);
    stream.write_all(post("1.1.1.1").as_bytes()).unwrap();
    let (status, head, _) = read_answer(&mut stream).unwrap();
    assert_eq!(status, 307);
    assert!(head.contains("Location: https://other.example/\r\n"));

    robot.order(When::Once(Method::Get), Fault::page(503));
    let (status, body) = ask_on(&mut stream, &request(GET, None)).unwrap();
    assert_eq!((status, body), (503, Value::Null));
    let (status, _) = ask_on(&mut stream, &request(GET, None)).unwrap();
    assert_eq!((status, robot.connections()), (200, 1));

    robot.order(
        When::Once(Method::Get),
        Fault::invalid_input(&[], &["active_server_ip"]),
    );
    let (status, body) = ask_on(&mut stream, &request(GET, None)).unwrap();
    assert_eq!(status, 400);
    assert_eq!(body["error"]["invalid"][0], "active_server_ip");
}

#[test]
fn slow_answers() {
    let robot = struck_by(Fault::Drip {
        every: Duration::ZERO,
    });
    let (status, body) = ask(&robot, &post("1.1.1.1"));
    assert_eq!((status, &body["failover"]["ip"]), (200, &"4.4.4.4".into()));

    let robot = struck_by(Fault::DripHeaders {
        every: Duration::ZERO,
    });
    let mut stream = connect(&robot);
    stream.write_all(post("1.1.1.1").as_bytes()).unwrap();
    let mut start = vec![0; 2000];
    stream.read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200 OK\r\nX-Drip: drop\r\nX-Drip"));
}

#[test]
fn long_answers() {
    let robot = struck_by(Fault::Oversize { bytes: 3_000_001 });
    let mut stream = connect(&robot);
    stream.write_all(request(GET, None).as_bytes()).unwrap();
    let (_, _, body) = read_answer(&mut stream).unwrap();
    assert_eq!(body.len(), 3_000_001);
    assert!(body.starts_with(b"{\"failover\":{"));

    robot.order(When::Once(Method::Get), Fault::HeaderFlood);
    let mut stream = io::BufReader::new(stream);
    stream
        .get_mut()
        .write_all(request(GET, None).as_bytes())
        .unwrap();
    let (_, head, _) = read_answer(&mut stream).unwrap();
    assert!(head.lines().count() > 100_000);

    for fault in [Fault::Endless, Fault::OversizeAnnounced { bytes: 1 << 40 }] {
        let robot = struck_by(fault);
        let mut stream = connect(&robot);
        stream.write_all(request(GET, None).as_bytes()).unwrap();
        let mut start = vec![0; 17];
        stream.read_exact(&mut start).unwrap();
        assert!(start.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn the_switch_happens_and_the_answer_does_not() {
    let robot = struck_by(Fault::ApplyThen(Box::new(Fault::Close)));
    robot.set_switch_time(Duration::from_millis(20));
    assert!(raw(&robot, &post("1.1.1.1")).0.is_empty());
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));

    robot.order(
        When::Once(Method::Post),
        Fault::StartThen(Box::new(Fault::Reset)),
    );
    robot.set_switch_time(Duration::from_secs(3600));
    assert!(raw(&robot, &post("2.2.2.2")).0.is_empty());
    let (_, body) = ask(&robot, &request(GET, None));
    assert_eq!(body["failover"]["status"], "processing");
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

#[test]
fn events_tell_the_story_without_the_password() {
    let robot = plain(Settings::default());
    let events = robot.events();
    robot.order(When::Once(Method::Get), Fault::Close);
    assert!(raw(&robot, &request(GET, None)).1.is_ok());
    assert_eq!(ask(&robot, &post("1.1.1.1")).0, 200);
    drop(robot);
    let lines: Vec<String> = events.iter().map(|event| event.to_string()).collect();
    assert!(lines[0].starts_with("GET /failover/4.4.4.4: no answer, fault Close (connection 1"));
    assert_eq!(lines[1], "4.4.4.4 is routed to 1.1.1.1");
    assert!(lines[2].starts_with("POST /failover/4.4.4.4 active_server_ip=1.1.1.1: 200 (conn"));
    assert_eq!(lines.len(), 3);
}
