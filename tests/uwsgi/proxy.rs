//! Proxies: they are used as curl uses them, and learn no secret.

use testbed::proxy::{Manner, Proxy};
use testbed::robot::{Fault, Method, Robot, Scheme, When};
use testbed::uwsgi::{Node, PATIENCE, process};

use crate::Test;
use crate::boot::errors;
use crate::context::{Context, action, robot, robot_with, wait};
use crate::transport::{end, node_with, routed};

pub const TESTS: &[Test] = tests![
    proxy_sees_no_secret,
    proxy_is_bypassed_by_no_proxy,
    proxy_that_is_dead_is_no_connection,
    proxy_that_refuses_is_no_connection,
    proxy_that_answers_without_end_is_no_connection,
    proxy_with_tls_and_a_login,
    proxy_of_socks_is_a_mistake,
    proxy_is_not_for_http
];

/// `FOO:BAR` in base64.
const ENCODED: &str = "Rk9POkJBUg==";

fn proxy_sees_no_secret(context: &Context) {
    let (robot, proxy) = (robot(), Proxy::start().unwrap());
    sees_no_secret(context, &robot, &proxy, &proxy.url());
    let bytes = String::from_utf8_lossy(&proxy.bytes()).to_lowercase();
    assert!(!bytes.contains("authorization"), "the proxy saw a login");
}

/// TLS to the proxy, and TLS to the webservice through it. The login is for the proxy.
fn proxy_with_tls_and_a_login(context: &Context) {
    let robot = robot();
    let proxy = Proxy::start_with(Manner::Tunnels, robot.tls()).unwrap();
    let url = proxy.url().replace("://", "://us%40er:p%2540ss@");
    sees_no_secret(context, &robot, &proxy, &url);
    // `us@er:p%40ss` in base64.
    let login = "Proxy-Authorization: Basic dXNAZXI6cCU0MHNz\r\n";
    let bytes = proxy.bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(login), "{text}");
}

fn sees_no_secret(context: &Context, robot: &Robot, proxy: &Proxy, url: &str) {
    robot.order(When::Once(Method::Post), Fault::page(503));
    let action = action(robot, "timeout=2,deadline=6");
    let node = node_with(context, &action, &[("HTTPS_PROXY", url)]);
    let end = end(&node);
    assert!(
        end.ends_with(", 3 requests)"),
        "{end}\n{}",
        node.log().text()
    );
    // The connection is kept open, through the proxy too.
    let connect = format!("CONNECT localhost:{} HTTP/1.1", robot.port());
    assert_eq!(proxy.requests(), [connect]);
    let bytes = proxy.bytes();
    let text = String::from_utf8_lossy(&bytes);
    for secret in ["BAR", ENCODED, "/failover/", "active_server_ip"] {
        assert!(!text.contains(secret), "the proxy saw `{secret}`");
    }
    // The mock Robot did see them, or else this would prove nothing.
    assert_eq!(
        robot.requests()[0].login(),
        Some(("FOO".into(), "BAR".into()))
    );
}

fn proxy_is_bypassed_by_no_proxy(context: &Context) {
    let (robot, proxy) = (robot(), Proxy::start().unwrap());
    let variables = [("HTTPS_PROXY", &*proxy.url()), ("NO_PROXY", "localhost")];
    routed(&node_with(context, &action(&robot, ""), &variables));
    assert_eq!(proxy.connections(), 0);
}

fn proxy_that_is_dead_is_no_connection(context: &Context) {
    let (robot, dead) = (robot(), robot_with(|_| {}));
    dead.refuse_connections();
    let url = format!("http://127.0.0.1:{}", dead.port());
    let action = action(&robot, "timeout=2,deadline=4");
    not_connected(&node_with(context, &action, &[("HTTPS_PROXY", &url)]));
    assert_eq!(robot.connections(), 0);
}

fn proxy_that_refuses_is_no_connection(context: &Context) {
    let (robot, proxy) = (robot(), Proxy::start().unwrap());
    robot.refuse_connections();
    let action = action(&robot, "timeout=2,deadline=4");
    let node = node_with(context, &action, &[("ALL_PROXY", &proxy.url())]);
    not_connected(&node);
    assert!(proxy.requests().len() >= 2, "{:?}", proxy.requests());
}

/// However slowly the proxy answers, the attempt ends in time and leaves nothing behind.
fn proxy_that_answers_without_end_is_no_connection(context: &Context) {
    for manner in [Manner::Drips, Manner::Floods, Manner::Silent] {
        let (robot, proxy) = (robot(), Proxy::start_with(manner, None).unwrap());
        let action = action(&robot, "timeout=1,deadline=4");
        let node = node_with(context, &action, &[("HTTPS_PROXY", &proxy.url())]);
        not_connected(&node);
        assert!(proxy.connections() >= 2, "{manner:?}");
        wait(&node, "suspending myself", PATIENCE);
        let threads_of_uwsgi = 2; // main and legion
        assert_eq!(process::threads(node.pid()), threads_of_uwsgi, "{manner:?}");
    }
}

/// The takeover tried more than once, and no attempt counts as a request.
#[track_caller]
fn not_connected(node: &Node) {
    let end = end(node);
    assert!(
        end.contains("ERROR 4.4.4.4 is not routed to 1.1.1.1: no connection to localhost"),
        "{end}"
    );
    assert!(end.ends_with(", 0 requests)"), "{end}");
    assert!(
        node.log().contains("; trying again"),
        "{}",
        node.log().text()
    );
}

fn proxy_of_socks_is_a_mistake(context: &Context) {
    let robot = robot();
    for (variable, url) in [
        ("HTTPS_PROXY", "socks5://127.0.0.1:1080"),
        ("all_proxy", "socks4a://user:s3cret@127.0.0.1:1080"),
    ] {
        let mut node = node_with(context, &action(&robot, ""), &[(variable, url)]);
        let status = node.wait(PATIENCE).and_then(|status| status.code());
        assert!(node.log().wait_for_end(PATIENCE));
        assert_eq!(status, Some(1), "{}", node.log().text());
        let expected = format!(
            "legion \"failover\", legion-lord: hetzner-failoverip: {variable} in the environment \
             names a SOCKS proxy, which is not supported: use an HTTP proxy, or add the \
             webservice's host to NO_PROXY"
        );
        assert_eq!(errors(&node), [expected]);
        assert!(!node.log().contains("s3cret"));
    }
    // It may be there for other programs.
    let variables = [
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ("NO_PROXY", "localhost"),
    ];
    routed(&node_with(context, &action(&robot, ""), &variables));
}

fn proxy_is_not_for_http(context: &Context) {
    let robot = robot_with(|settings| settings.scheme = Scheme::Http);
    let proxy = Proxy::start().unwrap();
    let url = proxy.url();
    let variables =
        ["http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, &*url));
    routed(&node_with(context, &action(&robot, ""), &variables));
    assert_eq!(proxy.connections(), 0);
}
