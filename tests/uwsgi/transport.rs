//! Who is believed, and who is told: trust stores, redirects, dead addresses.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use testbed::robot::{Fault, Method, Robot, When};
use testbed::uwsgi::Node;

use crate::Test;
use crate::context::{Context, action, ip, lone_node, robot, robot_with, wait_any};

pub const TESTS: &[Test] = &[
    ("transport_ssl_cert_file_is_honoured", own_store),
    (
        "transport_the_system_does_not_trust_everybody",
        system_store,
    ),
    ("transport_a_redirect_is_never_followed", redirect),
    ("transport_a_dead_address_costs_little", dead_address),
];

const PROXIES: [&str; 8] = [
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
        for name in PROXIES {
            command.env_remove(name);
        }
        adapt(command);
    });
    node.expect("uWSGI starts")
}

/// The line that says how the takeover ended.
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

/// An action that trusts whom the system trusts.
fn without_ca_file(robot: &Robot) -> String {
    let ca_file = format!(",ca_file={}", robot.ca_file().display());
    action(robot, "").replace(&ca_file, "")
}

fn own_store(context: &Context) {
    let robot = robot();
    let store = robot.ca_file().display().to_string();
    let action = without_ca_file(&robot);
    routed(&node_with(context, &action, &[("SSL_CERT_FILE", &store)]));
    // A bundle that is named counts alone.
    let other = robot_with(|_| {});
    let named = action.clone() + &format!(",ca_file={}", other.ca_file().display());
    let node = node_with(context, &named, &[("SSL_CERT_FILE", &store)]);
    let end = end(&node);
    assert!(
        end.contains("certificate of localhost does not verify"),
        "{end}"
    );
}

fn system_store(context: &Context) {
    let robot = robot();
    // With no store at all there are still the roots that are built in.
    let empty = tempfile::tempdir().unwrap();
    let no_file = empty.path().join("none").display().to_string();
    let nowhere = empty.path().display().to_string();
    let nothing: &[(&str, &str)] = &[("SSL_CERT_FILE", &no_file), ("SSL_CERT_DIR", &nowhere)];
    for variables in [&[], nothing] {
        let node = node_with(context, &without_ca_file(&robot), variables);
        let end = end(&node);
        assert!(end.contains("ERROR 4.4.4.4 is not routed"), "{end}");
        assert!(end.contains("its issuer is not trusted"), "{end}");
    }
    assert_eq!(robot.requests().len(), 0);
}

fn redirect(context: &Context) {
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
            end.contains(&format!("{status} and points to localhost")),
            "{end}"
        );
        assert_eq!(robot.requests().len(), 1);
    }
    // As the answer to a question it ends nothing, and is not followed either.
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

/// An address whose connections are never made: its queue of them is full.
struct DeadAddress {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl DeadAddress {
    fn new(address: SocketAddr) -> DeadAddress {
        let listener = TcpListener::bind(address).expect("nobody else has it");
        // SAFETY: a socket of our own; its queue is made as short as can be.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let mut queue = Vec::new();
        let soon = std::time::Duration::from_millis(200);
        while let Ok(connection) = TcpStream::connect_timeout(&address, soon) {
            queue.push(connection);
            assert!(queue.len() < 100, "the queue of {address} has no end");
        }
        DeadAddress {
            _listener: listener,
            _queue: queue,
        }
    }
}

/// The name has two addresses, the first of which does not answer.
fn dead_address(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.2 localhost\n").unwrap();
    // Which of the two comes first is the resolver's to say.
    for (alive, dead) in [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")] {
        let (robot, _dead) = pair(alive, dead);
        // Half of what an attempt may take would be lost to the dead address, and each time.
        let action = action(&robot, "timeout=3,deadline=4");
        let node = start_with(context, &action, |command| use_hosts(command, &hosts));
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
    let robot = robot_with(|settings| settings.address = SocketAddr::new(ip(alive), 0));
    let dead = DeadAddress::new(SocketAddr::new(ip(dead), robot.port()));
    (robot, dead)
}

/// Gives the command `/etc/hosts` of its own.
fn use_hosts(command: &mut Command, hosts: &Path) {
    let path = |path: &Path| std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    let (ours, theirs) = (path(hosts), path("/etc/hosts".as_ref()));
    let mount = move || {
        let nothing = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: system calls with C strings that live on.
        let failed = unsafe {
            libc::unshare(libc::CLONE_NEWNS) != 0
                || libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast()) != 0
                || libc::mount(
                    ours.as_ptr(),
                    theirs.as_ptr(),
                    nothing,
                    libc::MS_BIND,
                    nothing.cast(),
                ) != 0
        };
        match failed {
            true => Err(std::io::Error::last_os_error()),
            false => Ok(()),
        }
    };
    // SAFETY: nothing but system calls.
    unsafe { command.pre_exec(mount) };
}
