//! Several legions, several hooks, old ciphers.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use testbed::robot::{Fault, Method, Robot, When};
use testbed::uwsgi::{Legion, Node, NodeConfig, Observer, PATIENCE};

use crate::Test;
use crate::context::{Context, action, action_to, ip, lone_node, robot, robot_with, wait};

pub const TESTS: &[Test] = tests![
    hooks_of_two_legions_in_one_instance,
    hooks_of_one_legion_do_not_silence_another,
    hooks_for_ipv4_and_ipv6_in_one_legion,
    hooks_beside_cmd_and_log,
    hooks_setup,
    hooks_join,
    hooks_unlord,
    hooks_death,
    hooks_are_left_alone_by_children_that_end,
    cipher_bf_cbc_works,
    cipher_legacy_provider_is_not_left_loaded,
    cipher_works_without_a_legacy_provider
];

/// uWSGI starts daemons with a shell that it is given. A child that cannot, ends as uWSGI itself does,
/// `atexit` handlers and all; and the legions lie in memory that it shares with the master.
fn hooks_are_left_alone_by_children_that_end(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let shell = directory.path().join("sh");
    std::fs::write(&shell, "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(&shell, PermissionsExt::from_mode(0o755)).unwrap();
    let robot = robot();
    robot.order(When::Always(Method::Post), Fault::page(404));
    let config = lone_node(&action(&robot, ""))
        .line(format!("binsh = {}", shell.display()))
        .line("attach-daemon = x");
    let node = context.start(&config);
    wait(&node, "suspending myself", PATIENCE);
    let so_far = node.log().count("execvp()");
    let more = node.log().wait_for_nth("execvp()", so_far + 4, PATIENCE);
    assert!(more.is_some(), "{}", node.log().text());
    // It is suspended for ten minutes, whatever becomes of its children.
    assert_eq!(node.log().count("calling hetzner-failoverip"), 1);
}

const SUBNET: &str = "2a01:4f8:fff1::";

/// A Robot with two failover IPs, one of each family.
fn robot_of_two() -> Robot {
    robot_with(|settings| {
        settings.failovers = vec![(ip("4.4.4.4"), None), (ip(SUBNET), None)];
        settings.servers.push(ip("2a01:4f8:d0a:2003::"));
    })
}

fn ipv6_action(robot: &Robot) -> String {
    format!(
        "hetzner-failoverip:user=FOO,pass=BAR,ip={SUBNET},active_ip=2a01:4f8:d0a:2003::,\
         url={},ca_file={}",
        robot.url(ip(SUBNET)),
        robot.ca_file().display()
    )
}

fn second() -> Legion {
    Legion {
        name: "second".into(),
        ..Legion::of(1)
    }
}

const FAST: &str = "legion-freq = 1\nlegion-tolerance = 5";

fn hooks_of_two_legions_in_one_instance(context: &Context) {
    let robot = robot_of_two();
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line(second().member(0))
        .line(format!("legion-lord = failover {}", action(&robot, "")))
        .line(format!("legion-lord = second {}", ipv6_action(&robot)))
        .line(FAST);
    let node = context.start(&config);
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    wait(
        &node,
        &format!("{SUBNET} is routed to 2a01:4f8:d0a:2003::"),
        PATIENCE,
    );
    wait(&node, "i am now the Lord of the Legion second", PATIENCE);
}

/// All legions of an instance share one thread.
fn hooks_of_one_legion_do_not_silence_another(context: &Context) {
    let robot = robot_with(|settings| settings.switch_time = Duration::from_secs(12));
    let other = Legion {
        name: "other".into(),
        ..Legion::of(2)
    };
    let observer = Observer::start();
    let peer = context.start(
        &NodeConfig::new()
            .line(other.member(1))
            .line(format!("legion-node = other 127.0.0.1:{}", observer.port()))
            .line(FAST),
    );
    let node = context.start(
        &NodeConfig::new()
            .line(Legion::of(1).member(0))
            .line(other.member(0))
            .line(format!("legion-lord = failover {}", action(&robot, "")))
            .line(FAST),
    );
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    assert!(observer.wait_for_more(other.ports[1], 8, PATIENCE));
    for node in [&node, &peer] {
        assert!(!node.log().contains("left Legion"), "{}", node.log().text());
    }
}

fn hooks_for_ipv4_and_ipv6_in_one_legion(context: &Context) {
    let robot = robot_of_two();
    let config = lone_node(&action(&robot, ""))
        .line(format!("legion-lord = failover {}", ipv6_action(&robot)));
    let node = context.start(&config);
    wait(&node, "i am now the Lord", PATIENCE);
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
    assert_eq!(robot.route(ip(SUBNET)), Some(ip("2a01:4f8:d0a:2003::")));
}

fn hooks_beside_cmd_and_log(context: &Context) {
    let robot = robot();
    let directory = tempfile::tempdir().unwrap();
    let touched = directory.path().join("touched");
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line("legion-lord = failover log:before")
        .line(format!("legion-lord = failover {}", action(&robot, "")))
        .line(format!(
            "legion-lord = failover cmd:touch {}",
            touched.display()
        ))
        .line("legion-lord = failover log:after")
        .line(FAST);
    let node = context.start(&config);
    wait(&node, "i am now the Lord", PATIENCE);
    let lines = node.log().lines();
    let position = |part: &str| lines.iter().position(|line| line.starts_with(part));
    let order = ["before", "[hetzner-failoverip] 4.4.4.4 is routed", "after"].map(position);
    assert!(
        order[0].is_some() && order.is_sorted(),
        "{order:?}\n{}",
        node.log().text()
    );
    assert!(touched.exists());
}

/// A node whose legion has the action as this hook.
fn with_hook(context: &Context, robot: &Robot, event: &str) -> Node {
    context.start(
        &NodeConfig::new()
            .line(Legion::of(1).member(0))
            .line(format!("legion-{event} = failover {}", action(robot, "")))
            .line(FAST),
    )
}

fn hooks_setup(context: &Context) {
    let robot = robot();
    let node = with_hook(context, &robot, "setup");
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    wait(&node, "legion manager thread enabled", PATIENCE);
    assert_eq!(node.log().count("is routed to"), 1);
}

fn hooks_join(context: &Context) {
    let robot = robot();
    let node = with_hook(context, &robot, "join");
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    wait(&node, "i am now the Lord", PATIENCE);
}

fn hooks_unlord(context: &Context) {
    let robot = robot();
    let legion = Legion {
        quorum: 1,
        ..Legion::of(2)
    };
    let lesser = context.start(
        &NodeConfig::new()
            .line(legion.member(1))
            .line(format!(
                "legion-unlord = failover {}",
                action_to(&robot, "3.3.3.3", "")
            ))
            .line(FAST),
    );
    wait(&lesser, "i am now the Lord", PATIENCE);
    let _greater = context.start(&NodeConfig::new().line(legion.member(0)).line(FAST));
    wait(&lesser, "4.4.4.4 is routed to 3.3.3.3", PATIENCE);
}

fn hooks_death(context: &Context) {
    let robot = robot();
    let mut node = with_hook(context, &robot, "death");
    wait(&node, "i am now the Lord", PATIENCE);
    assert_eq!(robot.requests().len(), 0);
    let status = node.stop(PATIENCE);
    assert_eq!(
        status.and_then(|status| status.code()),
        Some(0),
        "{}",
        node.log().text()
    );
    assert!(
        node.log().contains("4.4.4.4 is routed to 1.1.1.1"),
        "{}",
        node.log().text()
    );
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

/// A plugin that says whether OpenSSL's legacy provider is active once all have started. (Its
/// file stays mapped until the process ends, active or not, so that tells nothing.)
const PROBE: &str = r#"
#include "uwsgi_abi.h"
extern void uwsgi_log(const char *, ...);
extern int OSSL_PROVIDER_available(void *, const char *);
static void post_init(void) {
    uwsgi_log("legacy provider: %d\n", OSSL_PROVIDER_available(0, "legacy"));
}
struct { struct hz_uwsgi_plugin plugin; char room[512]; } probe_plugin = {
    { .name = "probe", .post_init = post_init }
};
"#;

fn probe() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("probe.c"), PROBE).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "probe_plugin.so", "probe.c", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .current_dir(directory.path())
        .status();
    assert!(status.expect("cc runs").success());
    directory
}

/// The line that loads the probe, after the plugin.
fn probe_line(probe: &tempfile::TempDir) -> String {
    format!("plugin = {}/probe_plugin.so", probe.path().display())
}

fn cipher_bf_cbc_works(context: &Context) {
    let robot = robot();
    let legion = Legion {
        cipher: "bf-cbc:secret1".into(),
        quorum: 2,
        ..Legion::of(2)
    };
    let probe = probe();
    let nodes = [0, 1].map(|node| {
        context.start(
            &NodeConfig::new()
                .line(probe_line(&probe))
                .line(legion.member(node))
                .line(format!("legion-lord = failover {}", action(&robot, "")))
                .line(FAST),
        )
    });
    wait(&nodes[0], "i am now the Lord", PATIENCE);
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
    wait(&nodes[0], "legacy provider: 1", PATIENCE);
    let advice = "loaded OpenSSL's legacy provider, because a legion's cipher needs it; aes-256-cbc works without it";
    assert!(nodes[0].log().contains(advice), "{}", nodes[0].log().text());
}

fn cipher_legacy_provider_is_not_left_loaded(context: &Context) {
    let robot = robot();
    let probe = probe();
    let node = context.start(&lone_node(&action(&robot, "")).line(probe_line(&probe)));
    wait(&node, "legacy provider: 0", PATIENCE);
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    assert!(!node.log().contains("aes-256-cbc does not"));
}

/// A minimal system may lack the module, and OpenSSL then must keep its default provider.
fn cipher_works_without_a_legacy_provider(context: &Context) {
    let robot = robot();
    let config = lone_node(&action(&robot, ""));
    let node = Node::start_with(&context.launch(), &config.ini(), |command| {
        command.env("OPENSSL_MODULES", "/nonexistent");
    })
    .expect("uWSGI starts");
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
}
