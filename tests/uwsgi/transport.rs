//! Trust stores, TLS versions, redirects and dead addresses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc;

use testbed::robot::{Fault, Method, Robot, When};
use testbed::uwsgi::{Node, PATIENCE};

use crate::Test;
use crate::boot::errors;
use crate::context::{Context, action, ip, lone_node, robot, robot_with, wait_any};
use crate::driver::compile;

pub const TESTS: &[Test] = tests![
    transport_ssl_cert_file_is_honoured,
    transport_the_system_does_not_trust_everybody,
    transport_a_named_store_must_be_usable,
    transport_tls_before_1_2_is_refused,
    transport_a_redirect_is_never_followed,
    transport_a_dead_address_costs_little
];

/// Variables that a test must not inherit.
const VARIABLES: [&str; 10] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// A node that takes over with this in its environment.
pub fn node_with(context: &Context, action: &str, variables: &[(&str, &str)]) -> Node {
    start_with(context, action, |command| {
        command.envs(variables.iter().copied());
    })
}

fn start_with(context: &Context, action: &str, adapt: impl FnOnce(&mut Command)) -> Node {
    let node = Node::start_with(&context.launch(), &lone_node(action).ini(), |command| {
        for name in VARIABLES {
            command.env_remove(name);
        }
        adapt(command);
    });
    node.expect("uWSGI starts")
}

/// The line about the end of the takeover.
#[track_caller]
pub fn end(node: &Node) -> String {
    let line = wait_any(
        node,
        &["] 4.4.4.4 is routed", "] ERROR ", "] WARNING 4.4.4.4"],
    );
    assert!(!node.log().contains("BAR"), "{}", node.log().text());
    line
}

#[track_caller]
pub fn routed(node: &Node) {
    let end = end(node);
    assert!(
        end.contains("4.4.4.4 is routed to 1.1.1.1 (after ") && end.ends_with(", 1 request)"),
        "{end}\n{}",
        node.log().text()
    );
}

/// An action that trusts the system's store.
fn without_ca_file(robot: &Robot) -> String {
    let ca_file = format!(",ca_file={}", robot.ca_file().display());
    action(robot, "").replace(&ca_file, "")
}

fn transport_ssl_cert_file_is_honoured(context: &Context) {
    let robot = robot();
    let store = robot.ca_file().display().to_string();
    let action = without_ca_file(&robot);
    routed(&node_with(context, &action, &[("SSL_CERT_FILE", &store)]));
    // If ca_file names a bundle, only that is trusted.
    let other = robot_with(|_| {});
    let named = action.clone() + &format!(",ca_file={}", other.ca_file().display());
    let node = node_with(context, &named, &[("SSL_CERT_FILE", &store)]);
    let end = end(&node);
    assert!(
        end.contains("certificate of localhost does not verify"),
        "{end}"
    );
}

fn transport_the_system_does_not_trust_everybody(context: &Context) {
    let robot = robot();
    let node = node_with(context, &without_ca_file(&robot), &[]);
    let end = end(&node);
    assert!(end.contains("ERROR 4.4.4.4 is not routed"), "{end}");
    assert!(end.contains("its issuer is not trusted"), "{end}");
    assert_eq!(robot.requests().len(), 0);
}

/// If the environment names a store, no other is trusted.
fn transport_a_named_store_must_be_usable(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let [none, rubbish] = ["none", "rubbish"].map(|name| directory.path().join(name));
    std::fs::write(&rubbish, "no certificate").unwrap();
    for (variable, path) in [
        ("SSL_CERT_FILE", &*none),
        ("SSL_CERT_FILE", &rubbish),
        ("SSL_CERT_DIR", &none),
    ] {
        let variables = [(variable, path.to_str().unwrap())];
        let mut node = node_with(context, &without_ca_file(&robot), &variables);
        let status = node.wait(PATIENCE).and_then(|status| status.code());
        assert!(node.log().wait_for_end(PATIENCE));
        assert_eq!(status, Some(1), "{}", node.log().text());
        let errors = errors(&node).join("\n");
        let expected = format!("{variable} in the environment names no usable certificate");
        assert!(errors.contains(&expected), "{errors}");
        // A store that is not used may be broken.
        routed(&node_with(context, &action(&robot, ""), &variables));
    }
}

/// A TLS 1.1 or 1.0 server's first message, and the alert that answers it.
fn transport_tls_before_1_2_is_refused(context: &Context) {
    for minor in [2, 1] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if tell.send(answer_in_tls_1(minor, client.unwrap())).is_err() {
                    return;
                }
            }
        });
        let robot = robot();
        let url = robot.url(ip("4.4.4.4"));
        let action = action(&robot, "timeout=1,deadline=3")
            .replace(&url, &format!("https://localhost:{port}/x"));
        let node = start_with(context, &action, |_| {});
        let end = end(&node);
        assert!(end.contains("no connection to localhost"), "{end}");
        assert!(end.ends_with(", 0 requests)"), "{end}");
        // alert, fatal, protocol_version (RFC 5246, 7.2)
        let alert = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((alert[0], &alert[5..]), (21, &[2, 70][..]), "{alert:?}");
    }
}

fn answer_in_tls_1(minor: u8, mut client: TcpStream) -> Vec<u8> {
    let mut hello = [0; 5];
    client.read_exact(&mut hello).unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
    client.read_exact(&mut rest).unwrap();
    // version, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0xc0, 0x13, 0]);
    let mut message = vec![
        22,
        3,
        minor,
        0,
        body.len() as u8 + 4,
        2,
        0,
        0,
        body.len() as u8,
    ];
    message.extend(body);
    client.write_all(&message).unwrap();
    let mut alert = vec![0; 7];
    client.read_exact(&mut alert).unwrap();
    alert
}

fn transport_a_redirect_is_never_followed(context: &Context) {
    let target = robot_with(|_| {});
    for status in [301, 302, 303, 307, 308] {
        let robot = robot();
        let location = target.url(ip("4.4.4.4"));
        robot.order(
            When::Always(Method::Any),
            Fault::Redirect { status, location },
        );
        let node = node_with(context, &action(&robot, ""), &[]);
        let end = end(&node);
        assert!(
            end.contains(&format!("{status}, a redirect to localhost")),
            "{end}"
        );
        assert_eq!(robot.requests().len(), 1);
    }
    // As the answer to a query it ends nothing, and is not followed either.
    let robot = robot();
    robot.order(
        When::Once(Method::Post),
        Fault::ApplyThen(Box::new(Fault::Reset)),
    );
    let location = target.url(ip("4.4.4.4"));
    robot.order(
        When::Once(Method::Get),
        Fault::Redirect {
            status: 302,
            location,
        },
    );
    let node = node_with(context, &action(&robot, "timeout=2,deadline=6"), &[]);
    assert!(
        end(&node).ends_with(", 3 requests)"),
        "{}",
        node.log().text()
    );
    assert_eq!((target.connections(), target.requests().len()), (0, 0));
}

/// An address that never accepts a connection, because its queue is full.
struct DeadAddress {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl DeadAddress {
    /// `None` if somebody else has the port.
    fn new(address: SocketAddr) -> Option<DeadAddress> {
        let listener = TcpListener::bind(address).ok()?;
        // SAFETY: a socket of this test; its queue is made as short as possible.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let mut queue = Vec::new();
        let soon = std::time::Duration::from_millis(200);
        while let Ok(connection) = TcpStream::connect_timeout(&address, soon) {
            queue.push(connection);
            assert!(queue.len() < 100, "the queue of {address} has no end");
        }
        Some(DeadAddress {
            _listener: listener,
            _queue: queue,
        })
    }
}

/// A C library that finds two addresses for `localhost`, in this order.
const TWO_ADDRESSES: &str = r#"#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
	look_up *usual = (look_up *) dlsym(RTLD_NEXT, "getaddrinfo");
	if (!name || strcmp(name, "localhost"))
		return usual(name, service, hints, found);
	int failed = usual(getenv("FIRST"), service, hints, found);
	struct addrinfo *last = *found;
	while (!failed && last->ai_next)
		last = last->ai_next;
	return failed ? failed : usual(getenv("SECOND"), service, hints, &last->ai_next);
}
"#;

/// The name has two addresses, the first of which does not answer.
fn transport_a_dead_address_costs_little(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let [source, library] = ["lookup.c", "lookup.so"].map(|name| directory.path().join(name));
    std::fs::write(&source, TWO_ADDRESSES).unwrap();
    compile(&source, &library);
    for (dead, alive) in [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")] {
        let (robot, _dead) = pair(alive, dead);
        // Otherwise each attempt would lose half of its time to the dead address.
        let action = action(&robot, "timeout=3,deadline=4");
        let node = start_with(context, &action, |command| {
            let variables = [("FIRST", dead), ("SECOND", alive)];
            command.env("LD_PRELOAD", &library).envs(variables);
        });
        routed(&node);
        assert!(
            !node.log().contains("no connection"),
            "{}",
            node.log().text()
        );
    }
}

/// A Robot and a dead address on the same port.
fn pair(alive: &str, dead: &str) -> (Robot, DeadAddress) {
    // The port that is free at one address may be in use at the other.
    let pairs = (0..20).find_map(|_| {
        let robot = robot_with(|settings| settings.address = SocketAddr::new(ip(alive), 0));
        let dead = DeadAddress::new(SocketAddr::new(ip(dead), robot.port()))?;
        Some((robot, dead))
    });
    pairs.expect("a port that is free at both addresses")
}
