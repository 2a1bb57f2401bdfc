//! The whole webservice, used as a client does.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::mock::client::{LONG, ask_on, connect, raw, read_answer, tls};

mod faults;
mod switches;

const LOGIN: &str = "Authorization: Basic Rk9POkJBUg==\r\n";
const GET: &str = "GET /failover/4.4.4.4";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn plain(settings: Settings) -> Robot {
    Robot::start(Settings {
        scheme: Scheme::Http,
        ..settings
    })
    .unwrap()
}

/// The text of a request with the right login.
fn request(line: &str, form: Option<&str>) -> String {
    let form = form.map_or("\r\n".to_owned(), |form| {
        let length = form.len();
        format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        )
    });
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{LOGIN}{form}")
}

fn post(server: &str) -> String {
    let form = format!("active_server_ip={server}");
    request("POST /failover/4.4.4.4", Some(&form))
}

fn ask(robot: &Robot, text: &str) -> (u16, Value) {
    ask_on(&mut connect(robot), text).unwrap()
}

/// Status and code of an error.
fn refusal(robot: &Robot, text: &str) -> (u16, String) {
    let (status, body) = ask(robot, text);
    assert_eq!(body["error"]["status"], status);
    let code = body["error"]["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}

#[test]
fn a_switch_over_tls_is_routed_and_recorded() {
    let robot = Robot::start(Settings::default()).unwrap();
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("2.2.2.2")));
    let mut stream = tls(&robot).unwrap();
    let (status, body) = ask_on(&mut stream, &post("1.1.1.1")).unwrap();
    assert_eq!(status, 200);
    assert_eq!(body["failover"]["active_server_ip"], "1.1.1.1");
    assert_eq!(body["failover"]["status"], "ready");
    assert_eq!(body["failover"]["netmask"], "255.255.255.255");
    let (status, _) = ask_on(&mut stream, &request("DELETE /failover/4.4.4.4", None)).unwrap();
    assert_eq!(status, 200);
    assert_eq!(robot.route(ip("4.4.4.4")), None);
    let requests = robot.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].status, Some(200));
    assert_eq!(
        requests[0].form_field("active_server_ip").unwrap(),
        "1.1.1.1"
    );
    assert_eq!(requests[0].login().unwrap(), ("FOO".into(), "BAR".into()));
    assert_eq!((requests[1].connection, robot.connections()), (1, 1));
}

#[test]
fn each_certificate_has_the_flaw_that_it_is_named_for() {
    for (certificate, tls_versions, expected) in [
        (Certificate::Valid, TlsVersions::Any, ""),
        (Certificate::Valid, TlsVersions::Only12, ""),
        (Certificate::Valid, TlsVersions::Only13, ""),
        (Certificate::Expired, TlsVersions::Any, "expired"),
        (Certificate::NotYetValid, TlsVersions::Any, "not valid yet"),
        (
            Certificate::WrongName,
            TlsVersions::Any,
            "not valid for name",
        ),
        (Certificate::UnknownCa, TlsVersions::Any, "UnknownIssuer"),
    ] {
        let robot = Robot::start(Settings {
            certificate,
            tls: tls_versions,
            ..Settings::default()
        })
        .unwrap();
        let result = tls(&robot).and_then(|mut stream| ask_on(&mut stream, &request(GET, None)));
        match result {
            Ok((status, _)) => assert_eq!((status, expected), (200, "")),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected.is_empty() && error.contains(expected), "{error}");
            }
        }
    }
}

#[test]
fn every_refusal_has_its_code() {
    let robot = plain(Settings {
        failovers: vec![
            (ip("4.4.4.4"), Some(ip("2.2.2.2"))),
            (ip("2a01:4f8:fff1::"), None),
        ],
        servers: vec![ip("1.1.1.1"), ip("2.2.2.2"), ip("2a01:4f8:1::")],
        ..Settings::default()
    });
    let form = |line: &str, form: &str| request(line, Some(form));
    let line = "POST /failover/4.4.4.4";
    for (text, status, code) in [
        (request("GET /failover/5.5.5.5", None), 404, "NOT_FOUND"),
        (request("GET /failover/what", None), 404, "NOT_FOUND"),
        (request("GET /servers", None), 404, "NOT_FOUND"),
        (request("DELETE /server", None), 404, "NOT_FOUND"),
        (request("PUT /failover/4.4.4.4", None), 404, "NOT_FOUND"),
        (request(line, None), 400, "INVALID_INPUT"),
        (form(line, "ip=1"), 400, "INVALID_INPUT"),
        (form(line, "active_server_ip=x"), 400, "INVALID_INPUT"),
        (post("9.9.9.9"), 404, "FAILOVER_NEW_SERVER_NOT_FOUND"),
        (post("2a01:4f8:1::"), 404, "FAILOVER_NEW_SERVER_NOT_FOUND"),
        (post("2.2.2.2"), 409, "FAILOVER_ALREADY_ROUTED"),
    ] {
        assert_eq!(refusal(&robot, &text), (status, code.to_owned()), "{text}");
    }
    let (_, body) = ask(&robot, &request(line, None));
    assert_eq!(body["error"]["missing"][0], "active_server_ip");
    assert!(body["error"]["invalid"].is_null());
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("2.2.2.2")));

    let six = "POST /failover/2A01%3A4f8:fff1::0";
    let (status, body) = ask(&robot, &form(six, "active_server_ip=2a01%3A4f8%3A1%3A%3A"));
    assert_eq!(status, 200);
    assert_eq!(body["failover"]["active_server_ip"], "2a01:4f8:1::");
    assert_eq!(body["failover"]["netmask"], "ffff:ffff:ffff:ffff::");
    let (_, list) = ask(&robot, &request("GET /failover", None));
    assert_eq!(list.as_array().map(Vec::len), Some(2));
}

#[test]
fn an_ip_that_is_being_switched_is_locked_and_processing() {
    let robot = plain(Settings {
        switch_time: Duration::from_secs(3600),
        ..Settings::default()
    });
    thread::scope(|scope| {
        let switch = scope.spawn(|| ask(&robot, &post("1.1.1.1")));
        assert!(robot.wait_for_requests(Method::Post, 1, LONG));
        let (_, body) = ask(&robot, &request(GET, None));
        assert_eq!(body["failover"]["status"], "processing");
        assert_eq!(body["failover"]["active_server_ip"], "2.2.2.2");
        assert_eq!(refusal(&robot, &post("3.3.3.3")).1, "FAILOVER_LOCKED");
        robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
        let (status, body) = switch.join().unwrap();
        assert_eq!(status, 200);
        assert_eq!(body["failover"]["active_server_ip"], "1.1.1.1");
    });
    let time = Duration::from_millis(50);
    robot.set_switch_time(time);
    let began = Instant::now();
    assert_eq!(ask(&robot, &post("2.2.2.2")).0, 200);
    assert!(began.elapsed() >= time);
    robot.lock(ip("4.4.4.4"), LONG, true);
    assert_eq!(refusal(&robot, &post("3.3.3.3")).1, "FAILOVER_LOCKED");
    robot.lock(ip("4.4.4.4"), Duration::ZERO, true);
    assert_eq!(ask(&robot, &post("3.3.3.3")).0, 200);
}

#[test]
fn logins_and_limits_are_enforced() {
    let robot = plain(Settings {
        posts_per_hour: Some(1),
        ..Settings::default()
    });
    assert_eq!(refusal(&robot, &post("2.2.2.2")).0, 409);
    assert_eq!(refusal(&robot, &post("2.2.2.2")).1, "RATE_LIMIT_EXCEEDED");
    assert_eq!(ask(&robot, &request(GET, None)).0, 200);
    robot.set_password("baz");
    for _ in 0..3 {
        assert_eq!(refusal(&robot, &request(GET, None)).1, "UNAUTHORIZED");
    }
    robot.set_password("BAR");
    assert_eq!(refusal(&robot, &request(GET, None)).0, 401);
}

#[test]
fn refused_connections_come_back_on_the_same_port() {
    let robot = plain(Settings::default());
    assert_eq!(ask(&robot, &request(GET, None)).0, 200);
    robot.refuse_connections();
    let address = SocketAddr::new(ip("127.0.0.1"), robot.port());
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    robot.accept_connections().unwrap();
    assert_eq!(ask(&robot, &request(GET, None)).0, 200);
}

#[test]
fn dropping_it_ends_whatever_hangs() {
    let robot = Robot::start(Settings {
        switch_time: Duration::from_secs(3600),
        ..Settings::default()
    })
    .unwrap();
    robot.order(When::Once(Method::Any), Fault::HangHandshake);
    let silent = connect(&robot);
    assert!(robot.wait_for_connections(1, LONG));
    robot.order(When::Once(Method::Get), Fault::Hang);
    robot.order(When::Once(Method::Get), Fault::Endless);
    robot.order(
        When::Once(Method::Get),
        Fault::Drip {
            every: Duration::from_secs(3600),
        },
    );
    let mut streams: Vec<_> = (0..5).map(|_| tls(&robot).unwrap()).collect();
    for stream in &mut streams[..3] {
        stream.write_all(request(GET, None).as_bytes()).unwrap();
        stream.flush().unwrap();
    }
    let text = post("1.1.1.1");
    streams[3].write_all(text.as_bytes()).unwrap();
    assert!(robot.wait_for_requests(Method::Any, 4, LONG));
    let began = Instant::now();
    drop(robot);
    assert!(began.elapsed() < Duration::from_secs(5));
    drop((streams, silent));
}
