//! The metadata service tells which server this is: in a network of its own, where its address is on the
//! loopback interface.

use std::process::{Command, ExitCode};

use testbed::cloud::{Cloud, Metadata, Method, Requests};
use testbed::mock::{Fault, When};
use testbed::proxy::Proxy;
use testbed::uwsgi::{Node, PATIENCE};

use super::{HERE, cloud, token};
use crate::Test;
use crate::context::{Context, ip, lone_node, wait};
use crate::runbook::{NAMESPACES, PROXIES, system};

const TESTS: &[Test] = tests![cloud_metadata_service_tells_which_server_this_is];

/// Set in the process in the namespaces: the uWSGI.
const UWSGI: &str = "CLOUD_METADATA_UWSGI";

const ADDRESS: &str = "169.254.169.254";

/// The test, where it can be run. Says so where it cannot.
pub fn optional_tests() -> &'static [Test] {
    let can = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    let namespaces = [&NAMESPACES[..], &["--fork", "true"]].concat();
    if can("unshare", &namespaces) && can("ip", &["-V"]) {
        return TESTS;
    }
    eprintln!(
        "*** NOT RUN: cloud_metadata_service_tells_which_server_this_is, because there are no \
         namespaces or no ip here. ***"
    );
    &[]
}

/// This program runs itself in namespaces.
fn cloud_metadata_service_tells_which_server_this_is(context: &Context) {
    let mut command = Command::new("unshare");
    for variable in ["UWSGI_BINARIES", "NOTIFY_SOCKET"].iter().chain(&PROXIES) {
        command.env_remove(variable);
    }
    let output = command
        .args(NAMESPACES)
        .args(["--fork", "--kill-child"])
        .arg(std::env::current_exe().expect("the test has a path"))
        .env(UWSGI, context.launch().uwsgi)
        .output()
        .expect("unshare runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// In the namespaces. `None` anywhere else.
pub fn inside() -> Option<ExitCode> {
    let context = Context {
        label: "inside".into(),
        uwsgi: std::env::var_os(UWSGI)?.into(),
    };
    system("ip", &["link", "set", "lo", "up"]);
    let address = format!("{ADDRESS}/32");
    system("ip", &["address", "add", &address, "dev", "lo"]);
    let at = format!("{ADDRESS}:80").parse().expect("an address");
    let metadata = Metadata::start(at, Some(HERE)).expect("the metadata service starts");
    is_asked_once_and_not_through_a_proxy(&context, &metadata);
    passing_trouble_is_waited_out(&context, &metadata);
    what_is_no_cloud_server_is_told_so(&context, &metadata);
    Some(ExitCode::SUCCESS)
}

/// A node whose action does not name its server.
fn start(context: &Context, cloud: &Cloud, keys: &str, proxy: Option<&Proxy>) -> Node {
    let action = format!(
        "hetzner-floatingip:token={},ip=131.232.99.1 2001:db8::,endpoint={},ca_file={}{keys}",
        token(),
        cloud.endpoint(),
        cloud.ca_file().display()
    );
    let config = lone_node(&action);
    let node = Node::start_with(&context.launch(), &config.ini(), |command| {
        for variable in proxy
            .iter()
            .flat_map(|_| ["http_proxy", "HTTP_PROXY"].iter().chain(&PROXIES))
        {
            command.env(variable, proxy.expect("there is one").url());
        }
    });
    node.expect("uWSGI starts")
}

/// Two addresses side by side, and the looks that follow.
fn is_asked_once_and_not_through_a_proxy(context: &Context, metadata: &Metadata) {
    let (cloud, proxy) = (cloud(), Proxy::start().unwrap());
    let node = start(context, &cloud, ",watch=10", Some(&proxy));
    wait(&node, "] i am now the Lord", PATIENCE);
    for address in ["131.232.99.1", "2001:db8::"] {
        assert_eq!(
            cloud.holder(ip(address)),
            Some(HERE),
            "{}",
            node.log().text()
        );
        let line = format!("[hetzner-floatingip] {address} is routed to this server (after ");
        wait(&node, &line, PATIENCE);
    }
    let reads = cloud.count(Requests::READS);
    assert!(cloud.wait_for_requests(Requests::READS, reads + 2, PATIENCE));
    let requests = metadata.requests();
    let [request] = &requests[..] else {
        panic!("{requests:#?}\n{}", node.log().text())
    };
    assert_eq!(request.path, "/hetzner/v1/metadata/instance-id");
    assert_eq!(request.header("Authorization"), None);
    // The API is asked through the proxy, so it would be noticed if the metadata service were, too.
    let seen = proxy.requests();
    let connect = format!("CONNECT localhost:{} HTTP/1.1", cloud.port());
    assert!(seen.contains(&connect), "{seen:?}");
    assert!(seen.iter().all(|line| *line == connect), "{seen:?}");
}

fn passing_trouble_is_waited_out(context: &Context, metadata: &Metadata) {
    for fault in [Fault::Hang, Fault::Close, Fault::page(503)] {
        metadata.order(When::Once(Method::Get), fault);
        let cloud = cloud();
        let node = start(context, &cloud, ",ip=131.232.99.1", None);
        let line = "the metadata service did not tell which Cloud server this is (";
        wait(&node, line, PATIENCE);
        wait(&node, "] i am now the Lord", PATIENCE);
        assert_eq!(cloud.holder(ip("131.232.99.1")), Some(HERE));
    }
}

fn what_is_no_cloud_server_is_told_so(context: &Context, metadata: &Metadata) {
    let refused = |part: &str| {
        let cloud = cloud();
        let node = start(context, &cloud, "", None);
        let line = wait(
            &node,
            "] ERROR 131.232.99.1 is not routed to this server: ",
            PATIENCE,
        );
        assert!(line.contains(part), "{line}");
        assert!(line.contains("write server=ID or server=NAME"), "{line}");
        wait(
            &node,
            "this node votes, but does not stand for election",
            PATIENCE,
        );
        assert_eq!(cloud.posts(), 0);
    };
    metadata.set_id(None);
    refused("the metadata service does not know this host (it answered 404)");
    metadata.set_id_text("<html>");
    refused("the metadata service does not know this host (its answer is not the id of a server)");
    // Elsewhere nobody listens there.
    metadata.refuse_connections();
    let cloud = cloud();
    let node = start(
        context,
        &cloud,
        ",ip=131.232.99.1,timeout=1,deadline=4",
        None,
    );
    let line = wait(
        &node,
        "] ERROR 131.232.99.1 is not routed to this server: ",
        PATIENCE,
    );
    assert!(
        line.contains("if it never does, write server=ID or server=NAME"),
        "{line}"
    );
}
