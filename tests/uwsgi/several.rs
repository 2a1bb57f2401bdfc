//! Several failover IPs in one action, side by side.

use std::net::IpAddr;
use std::time::Duration;

use testbed::robot::{Fault, Method, Robot, Settings, When};
use testbed::uwsgi::{Legion, Node, NodeConfig, Observer, PATIENCE};

use crate::Test;
use crate::boot::{errors, refused};
use crate::context::{self, Context, ip, lone_node, wait, wait_any};

pub const TESTS: &[Test] = tests![
    several_addresses_are_switched_at_the_same_time,
    several_addresses_succeed_only_together,
    several_addresses_of_a_refused_login_cost_one_attempt,
    several_addresses_of_a_hanging_webservice_end_at_their_deadline,
    sixteen_addresses_have_posts_for_three_failovers,
    sixteen_addresses_recover_from_one_that_failed,
    looks_at_several_addresses_stop_at_a_refused_login,
    boot_names_the_address_that_is_wrong,
    boot_refuses_an_address_in_two_actions
];

/// Failover IPs 4.4.4.1, 4.4.4.2 and so on, routed to 2.2.2.2.
pub fn ips(number: u8) -> Vec<IpAddr> {
    (1..=number)
        .map(|last| IpAddr::from([4, 4, 4, last]))
        .collect()
}

fn robot(number: u8, switch_time: Duration) -> Robot {
    robot_with(number, |settings| settings.switch_time = switch_time)
}

pub fn robot_with(number: u8, adapt: impl FnOnce(&mut Settings)) -> Robot {
    context::robot_with(|settings| {
        let failovers = ips(number).into_iter();
        settings.failovers = failovers
            .map(|ip| (ip, Some([2, 2, 2, 2].into())))
            .collect();
        adapt(settings);
    })
}

pub fn action(robot: &Robot, number: u8, more: &str) -> String {
    let ips: Vec<String> = ips(number).iter().map(IpAddr::to_string).collect();
    format!(
        "hetzner-failoverip:username=FOO,password=BAR,ip={},active_ip=1.1.1.1,url={},ca_file={}{more}",
        ips.join(" "),
        robot.url(ip("9.9.9.9")).replace("9.9.9.9", "{ip}"),
        robot.ca_file().display(),
    )
}

fn routed_here(robot: &Robot, number: u8) -> usize {
    let here = |ip: &IpAddr| robot.route(*ip) == Some([1, 1, 1, 1].into());
    ips(number).iter().filter(|ip| here(ip)).count()
}

/// Waits until the action has returned.
fn end(node: &Node) -> bool {
    let end = wait_any(
        node,
        &["] i am now the Lord", "] ERROR, lord hook returned: -1"],
    );
    end.contains("i am now the Lord")
}

fn lines(node: &Node, part: &str) -> usize {
    let lines = node.log().lines();
    lines.iter().filter(|line| line.contains(part)).count()
}

fn several_addresses_are_switched_at_the_same_time(context: &Context) {
    let robot = robot(3, Duration::from_secs(600));
    let node = context.start(&lone_node(&action(&robot, 3, "")));
    // No switch ends before all of them have begun.
    assert!(robot.wait_for_requests(Method::Post, 3, PATIENCE));
    for ip in ips(3) {
        robot.set_route(ip, Some([1, 1, 1, 1].into()));
    }
    assert!(end(&node), "{}", node.log().text());
    assert_eq!(routed_here(&robot, 3), 3);
    for ip in ips(3) {
        wait(
            &node,
            &format!("[hetzner-failoverip] {ip} -> 1.1.1.1"),
            PATIENCE,
        );
        wait(
            &node,
            &format!("{ip} is routed to 1.1.1.1 (after "),
            PATIENCE,
        );
    }
    assert_eq!(robot.count(Method::Get), 1, "one look comes first, alone");
}

fn several_addresses_succeed_only_together(context: &Context) {
    let robot = robot(3, Duration::ZERO);
    // The second is not in the account.
    let action = action(&robot, 3, "").replace("4.4.4.2", "7.7.7.7");
    let node = context.start(&lone_node(&action));
    assert!(!end(&node));
    assert_eq!(
        routed_here(&robot, 3),
        2,
        "the others are brought to their end"
    );
    assert_eq!(lines(&node, "ERROR 7.7.7.7 is not routed to 1.1.1.1: "), 1);
    assert_eq!(lines(&node, " is routed to 1.1.1.1 (after "), 2);
    wait(
        &node,
        "this node votes, but does not stand for election",
        PATIENCE,
    );
}

fn several_addresses_of_a_refused_login_cost_one_attempt(context: &Context) {
    let robot = robot(5, Duration::ZERO);
    let action = action(&robot, 5, "").replace("password=BAR", "password=wrong");
    let node = context.start(&lone_node(&action));
    assert!(!end(&node));
    assert_eq!(
        robot.requests().len(),
        1,
        "three refused logins block this server"
    );
    assert_eq!(lines(&node, "the webservice refused the login (401)"), 5);
}

fn several_addresses_of_a_hanging_webservice_end_at_their_deadline(context: &Context) {
    let robot = robot(3, Duration::ZERO);
    robot.order(When::Always(Method::Get), Fault::Hang);
    robot.order(When::Always(Method::Post), Fault::Hang);
    let node = context.start(&lone_node(&action(&robot, 3, ",timeout=2,deadline=4")));
    assert!(!end(&node));
    assert_eq!(lines(&node, "the deadline of 4 s has passed"), 3);
}

/// The webservice allows 50 an hour for the account.
fn sixteen_addresses_have_posts_for_three_failovers(context: &Context) {
    let robot = robot(16, Duration::ZERO);
    for failover in 1..=3 {
        for ip in ips(16) {
            robot.set_route(ip, Some([2, 2, 2, 2].into()));
        }
        let node = context.start(&lone_node(&action(&robot, 16, "")));
        assert!(end(&node), "failover {failover}: {}", node.log().text());
        assert_eq!(routed_here(&robot, 16), 16);
    }
    assert_eq!(robot.posts(), 48);
}

/// One failure must not use up what the next takeover of this process may send.
fn sixteen_addresses_recover_from_one_that_failed(context: &Context) {
    let robot = robot(16, Duration::ZERO);
    robot.order(
        When::Once(Method::Post),
        Fault::error(403, "FORBIDDEN", "a message"),
    );
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line(format!("legion-lord = failover {}", action(&robot, 16, "")))
        .line("legion-freq = 1\nlegion-tolerance = 5\nlegion-death-on-lord-error = 5");
    let node = context.start(&config);
    assert!(!end(&node));
    wait(&node, "] i am now the Lord", PATIENCE);
    assert_eq!(routed_here(&robot, 16), 16, "{}", node.log().text());
    assert_eq!(
        robot.posts(),
        17,
        "those that are here are not posted again"
    );
}

/// Three refused logins block this server.
fn looks_at_several_addresses_stop_at_a_refused_login(context: &Context) {
    let robot = robot(5, Duration::ZERO);
    let (legion, observer) = (Legion::of(1), Observer::start());
    let config = NodeConfig::new()
        .line(legion.member(0))
        .line(format!(
            "legion-node = failover 127.0.0.1:{}",
            observer.port()
        ))
        .line(format!(
            "legion-lord = failover {}",
            action(&robot, 5, ",watch=60")
        ))
        .line("legion-freq = 1\nlegion-tolerance = 5");
    let node = context.start(&config);
    assert!(end(&node), "{}", node.log().text());
    robot.set_password("changed");
    let part = "will not retry before the next takeover";
    wait(&node, part, 2 * PATIENCE);
    // The others would have looked in the next cycles of the master, one in each.
    assert!(observer.wait_for_more(legion.ports[0], 8, PATIENCE));
    let requests = robot.requests();
    let refused = requests
        .iter()
        .filter(|request| request.status == Some(401));
    assert_eq!(refused.count(), 1, "{}", node.log().text());
}

fn boot_names_the_address_that_is_wrong(context: &Context) {
    let robot = robot(3, Duration::ZERO);
    for (ips, active_ip, part) in [
        (
            "4.4.4.4 4.4.4",
            "1.1.1.1",
            "ip: `4.4.4` is not an IP address",
        ),
        (
            "4.4.4.4 5.5.5.5 4.4.4.4",
            "1.1.1.1",
            "ip: 4.4.4.4 is written twice",
        ),
        (
            "4.4.4.4 2a01:4f8:fff1::",
            "1.1.1.1",
            "active_ip: has no address of the family of 2a01:4f8:fff1::",
        ),
        (
            "4.4.4.4",
            "1.1.1.1 3.3.3.3",
            "active_ip: 3.3.3.3 is of the same family as 1.1.1.1",
        ),
    ] {
        let action = action(&robot, 3, "")
            .replace("4.4.4.1 4.4.4.2 4.4.4.3", ips)
            .replace("active_ip=1.1.1.1", &format!("active_ip={active_ip}"));
        let errors = errors(&refused(context, &lone_node(&action)));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(part), "{errors:?}");
    }
    let one_url = action(&robot, 3, "").replace("{ip}", "4.4.4.4");
    let errors = errors(&refused(context, &lone_node(&one_url)));
    assert!(
        errors[0].contains("url: is one URL for several addresses"),
        "{errors:?}"
    );
}

fn boot_refuses_an_address_in_two_actions(context: &Context) {
    let robot = robot(3, Duration::ZERO);
    let another = action(&robot, 1, "");
    let config =
        lone_node(&action(&robot, 3, "")).line(format!("legion-lord = failover {another}"));
    let errors = errors(&refused(context, &config));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("two hooks route 4.4.4.1: remove one of them"),
        "{errors:?}"
    );
}
