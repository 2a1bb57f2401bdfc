//! The application, as those see it that check its health.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::*;
use crate::robot::{Robot, Settings};

const LONG: Duration = Duration::from_secs(20);
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: app.example\r\n\r\n";

fn connect(application: &Application) -> io::Result<TcpStream> {
    let port = application.port().unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LONG))?;
    Ok(stream)
}

/// The head of the answer to one request.
fn probe(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(REQUEST.as_bytes())?;
    stream.flush()?;
    read_answer(&mut stream)
}

fn read_answer(stream: &mut impl Read) -> io::Result<String> {
    let mut text = Vec::new();
    // The body is a line of four bytes, after an empty line.
    while !(text.len() > 9 && text[..text.len() - 4].ends_with(b"\r\n\r\n")) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    String::from_utf8(text).map_err(io::Error::other)
}

#[test]
fn it_answers_what_it_is_told_to_and_counts() {
    let application = Application::start().unwrap();
    let mut stream = connect(&application).unwrap();
    for status in [200, 503, 302] {
        application.set(Behaviour::Status(status)).unwrap();
        let answer = probe(&mut stream).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(answer.contains("Location: "), status == 302);
    }
    assert!(application.wait_for_probes(3, LONG));
    let probes = application.probes();
    assert_eq!((probes.len(), application.connections()), (3, 1));
    assert_eq!(probes[0].line, "GET /healthz");
    assert_eq!(probes[0].host.as_deref(), Some("app.example"));
    let url = format!("http://127.0.0.1:{}/healthz", application.port().unwrap());
    assert_eq!(application.url("/healthz"), url);
}

#[test]
fn what_hangs_is_answered_when_it_recovers_and_not_when_it_dies() {
    let application = Application::start().unwrap();
    for (number, then) in [(1, Behaviour::Status(200)), (2, Behaviour::Refuse)] {
        application.set(Behaviour::Hang).unwrap();
        let mut stream = connect(&application).unwrap();
        stream.write_all(REQUEST.as_bytes()).unwrap();
        assert!(application.wait_for_probes(number, LONG));
        application.set(then).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(answer.is_ok(), then == Behaviour::Status(200), "{answer:?}");
    }
}

#[test]
fn it_comes_back_on_the_same_port() {
    let application = Application::start().unwrap();
    let mut kept = connect(&application).unwrap();
    probe(&mut kept).unwrap();
    application.set(Behaviour::Refuse).unwrap();
    assert!(probe(&mut kept).is_err());
    let error = connect(&application).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    application.set(Behaviour::Status(404)).unwrap();
    let answer = probe(connect(&application).unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "));
}

#[test]
fn it_can_be_behind_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let application = Application::start_unix(&path).unwrap();
    assert_eq!(
        application.url("/healthz"),
        format!("unix://{}", path.display())
    );
    assert!(probe(UnixStream::connect(&path).unwrap()).is_ok());
    application.set(Behaviour::Refuse).unwrap();
    let error = UnixStream::connect(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    application.set(Behaviour::Status(200)).unwrap();
    // A connection is enough to be counted.
    drop(UnixStream::connect(&path).unwrap());
    assert!(application.wait_for_connections(2, LONG));
    drop(application);
    assert!(!path.exists());
}

#[test]
fn it_can_be_behind_tls() {
    let robot = Robot::start(Settings::default()).unwrap();
    let application = Application::start_tls(robot.tls().unwrap()).unwrap();
    let stream = crate::mock::client::trusting(&robot, connect(&application).unwrap()).unwrap();
    assert!(probe(stream).unwrap().starts_with("HTTP/1.1 200 "));
    assert!(application.url("/").starts_with("https://localhost:"));
}

#[test]
fn dropping_it_ends_whatever_hangs() {
    let application = Application::start().unwrap();
    application.set(Behaviour::Hang).unwrap();
    let silent = connect(&application).unwrap();
    let mut waiting = connect(&application).unwrap();
    waiting.write_all(REQUEST.as_bytes()).unwrap();
    assert!(application.wait_for_probes(1, LONG));
    assert!(application.wait_for_connections(2, LONG));
    drop(application);
    assert!(read_answer(&mut waiting).is_err());
    assert!(read_answer(&mut &silent).is_err());
}
