//! A move from its first read to its last: what the API does meanwhile, and which server is meant.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testbed::cloud::{
    Action, Cloud, Fault, FloatingIp, Item, Quirk, Requests, Server, Status, When,
};
use testbed::uwsgi::PATIENCE;

use super::{
    HERE, Kind, NETWORK, Run, SHORT, THERE, action_of, cloud, cloud_with, move_alias, side_by_side,
};
use crate::Test;
use crate::context::{Context, ip, lone_node, wait, wait_any};

pub const TESTS: &[Test] = tests![
    cloud_ours_already_writes_nothing,
    cloud_long_lists_are_read_to_their_end,
    cloud_a_long_action_is_waited_for,
    cloud_a_lock_by_somebody_else_is_waited_out,
    cloud_a_failed_action_is_requested_again,
    cloud_a_failed_action_that_was_done_is_believed_by_reading,
    cloud_a_success_without_effect_is_requested_again,
    cloud_a_success_that_shows_late_is_waited_for,
    cloud_an_error_beside_success_means_nothing,
    cloud_assigned_already_is_believed_by_reading,
    cloud_a_blocked_address_is_named,
    cloud_ipv4_and_ipv6_move_side_by_side,
    cloud_addresses_succeed_only_together,
    cloud_server_by_id_or_name,
    cloud_what_is_not_in_the_project_is_named,
    cloud_the_requests_are_as_documented,
    cloud_http_on_loopback_works
];

/// Several at a time, as the takeovers mostly wait.
fn all(runs: impl IntoIterator<Item = Run>, judge: impl Fn(&Run)) {
    let runs: Vec<Run> = runs.into_iter().collect();
    runs.iter().for_each(judge);
}

fn cloud_ours_already_writes_nothing(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud();
        match kind {
            Kind::Floating => cloud.set_holder(kind.ip(), Some(HERE)),
            Kind::Alias => move_alias(&cloud, HERE),
        }
        let run = Run::start(context, kind, cloud, "");
        run.succeeds_with(0);
        assert_eq!(run.cloud.posts(), 0, "{}", run.explain());
    });
}

/// 50 objects are a page.
fn cloud_long_lists_are_read_to_their_end(context: &Context) {
    let long = |kind| {
        cloud_with(|settings| {
            for number in 0..120 {
                let other = IpAddr::from([131, 232, 98, number]);
                let other = FloatingIp::new(1000 + u64::from(number), other, None);
                settings.floating_ips.insert(0, other);
                let server = Server::new(2000 + u64::from(number), &format!("other{number}"));
                let own = Ipv4Addr::new(10, 0, 2, number);
                settings
                    .servers
                    .insert(0, server.attached(NETWORK, own, &[]));
            }
            if kind == Kind::Alias {
                settings.networks[0].name = "net".into();
            }
        })
    };
    let runs = Kind::ALL.map(|kind| Run::start(context, kind, long(kind), "server=node2"));
    all(runs, |run| {
        run.succeeds_with(run.kind.steps());
        let requests = run.cloud.requests();
        let lists = match run.kind {
            Kind::Floating => &["/v1/floating_ips?"][..],
            Kind::Alias => &["/v1/servers?"],
        };
        for list in lists {
            let pages = requests.iter().filter(|request| {
                request.path.starts_with(list) && request.path.contains("page=3&per_page=50")
            });
            assert!(pages.count() > 0, "{list}\n{}", run.explain());
        }
    });
}

/// Longer than one request may take. Nothing else is sent meanwhile.
fn cloud_a_long_action_is_waited_for(context: &Context) {
    let runs = Kind::ALL.map(|kind| {
        let cloud = cloud();
        cloud.set_action_time(Duration::from_secs(8));
        Run::start(context, kind, cloud, "timeout=2")
    });
    all(runs, |run| {
        run.succeeds_with(run.kind.steps());
        let polls = run.cloud.count(Requests::ACTION);
        assert!(polls >= 5, "{}", run.explain());
        let refused = run.cloud.requests();
        let mut refused = refused.iter().filter(|request| request.status == Some(423));
        assert!(refused.next().is_none(), "{}", run.explain());
        assert!(
            run.node
                .log()
                .contains("is running; a switch is running, waiting for it to finish"),
            "{}",
            run.explain()
        );
    });
}

/// Such as a backup of either server.
fn cloud_a_lock_by_somebody_else_is_waited_out(context: &Context) {
    let items = |kind| match kind {
        Kind::Floating => vec![Item::Server(HERE), Item::FloatingIp(4711)],
        Kind::Alias => vec![Item::Server(HERE), Item::Server(THERE)],
    };
    let runs = Kind::ALL.into_iter().flat_map(|kind| {
        items(kind).into_iter().map(move |item| {
            let cloud = cloud();
            cloud.lock(item, Duration::from_secs(3600));
            let run = Run::start(context, kind, cloud, "").named(item);
            (run, item)
        })
    });
    for (run, item) in runs.collect::<Vec<_>>() {
        wait(
            &run.node,
            "423 locked (cannot perform operation because",
            PATIENCE,
        );
        run.cloud.lock(item, Duration::ZERO);
        run.succeeds();
    }
}

fn with(context: &Context, kind: Kind, quirk: Fault) -> Run {
    let cloud = cloud();
    cloud.order(When::Once(kind.changes()), quirk.clone());
    Run::start(context, kind, cloud, "").named(quirk)
}

fn cloud_a_failed_action_is_requested_again(context: &Context) {
    side_by_side(|kind| {
        let run = with(context, kind, Fault::action_fails());
        run.succeeds_with(1 + kind.steps());
        let line = "has failed: action_failed (Action failed)";
        assert!(run.node.log().contains(line), "{}", run.explain());
    });
}

fn cloud_a_failed_action_that_was_done_is_believed_by_reading(context: &Context) {
    side_by_side(|kind| {
        with(context, kind, Fault::action_fails_applied()).succeeds_with(kind.steps());
    });
}

/// The 1st of what goes wrong for others: the API says that it is done, and it is not.
fn cloud_a_success_without_effect_is_requested_again(context: &Context) {
    side_by_side(|kind| {
        with(context, kind, Quirk::ActionWithoutEffect.into()).succeeds_with(1 + kind.steps());
    });
}

fn cloud_a_success_that_shows_late_is_waited_for(context: &Context) {
    side_by_side(|kind| {
        let late = Quirk::StaleReads(Duration::from_secs(3));
        with(context, kind, late.into()).succeeds_with(kind.steps());
    });
}

fn cloud_an_error_beside_success_means_nothing(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud_with(|settings| settings.error_beside_success = true);
        Run::start(context, kind, cloud, "").succeeds_with(kind.steps());
    });
}

/// One read shows another server, as users saw now and then; the next one decides.
fn cloud_assigned_already_is_believed_by_reading(context: &Context) {
    let cloud = cloud();
    cloud.set_holder(Kind::Floating.ip(), Some(HERE));
    cloud.order(When::Once(Requests::READS), Quirk::BadRead(Some(44)));
    let run = Run::start(context, Kind::Floating, cloud, "");
    run.succeeds_with(1);
    let requests = run.cloud.requests();
    let refused = |status| {
        requests
            .iter()
            .any(|request| request.status == Some(status))
    };
    assert!(
        refused(422) && run.cloud.actions().is_empty(),
        "{}",
        run.explain()
    );
}

fn cloud_a_blocked_address_is_named(context: &Context) {
    let cloud = cloud_with(|settings| settings.floating_ips[0].blocked = true);
    let line = Run::start(context, Kind::Floating, cloud, "").fails_at_once(1, "403 forbidden");
    let part = "; Hetzner has blocked this Floating IP, see the Cloud Console";
    assert!(line.contains(part), "{line}");
}

const BOTH: [&str; 2] = ["131.232.99.1", "2001:db8::"];

/// A node whose action moves several Floating IPs.
fn several(context: &Context, cloud: &Cloud, ips: &str) -> testbed::uwsgi::Node {
    context.start(&lone_node(&action_of(cloud, "hetzner-floatingip", ips, "")))
}

fn cloud_ipv4_and_ipv6_move_side_by_side(context: &Context) {
    for ips in ["131.232.99.1 2001:db8::/64", "2001:db8:: 131.232.99.1"] {
        let cloud = cloud();
        cloud.set_action_time(Duration::from_secs(3600));
        let node = several(context, &cloud, ips);
        // Both are requested at once; the API locks the server until one has ended.
        let asked = cloud.wait_for_requests(Requests::ASSIGN, 2, PATIENCE);
        assert!(asked, "{}", node.log().text());
        cloud.set_action_time(Duration::ZERO);
        cloud.end_actions();
        wait(&node, "] i am now the Lord", PATIENCE);
        for address in BOTH {
            assert_eq!(cloud.holder(ip(address)), Some(HERE), "{address}");
            wait(
                &node,
                &format!("[hetzner-floatingip] {address} -> server 43"),
                PATIENCE,
            );
            let line = format!("[hetzner-floatingip] {address} is routed to server 43 (after ");
            wait(&node, &line, PATIENCE);
        }
    }
}

fn cloud_addresses_succeed_only_together(context: &Context) {
    let cloud = cloud();
    let node = several(context, &cloud, "131.232.99.1 9.9.9.9 2001:db8::");
    let end = wait_any(&node, &["] i am now the Lord", "lord hook returned: -1"]);
    assert!(end.contains("-1"), "{end}");
    for address in BOTH {
        assert_eq!(
            cloud.holder(ip(address)),
            Some(HERE),
            "the others come here"
        );
    }
    let missing = "ERROR 9.9.9.9 is not routed to server 43: there is no Floating IP 9.9.9.9 in the \
                   token's project";
    wait(&node, missing, PATIENCE);
}

fn cloud_server_by_id_or_name(context: &Context) {
    side_by_side(|kind| {
        let runs = ["43", "node2"].map(|server| {
            let keys = format!("server={server}");
            (Run::start(context, kind, cloud(), &keys), server)
        });
        for (run, server) in runs {
            let line = run.succeeds_with(kind.steps());
            let part = format!("is routed to server {server} (after ");
            assert!(line.contains(&part), "{line}");
        }
    });
}

/// The 6th of what goes wrong for others: a host name that is not the server's name, and the wrong
/// project.
fn cloud_what_is_not_in_the_project_is_named(context: &Context) {
    side_by_side(|kind| {
        let no_server = |server: &str| {
            format!(
                "there is no server {server} in the token's project: server must be this server's \
                 name or id as the Cloud Console shows it"
            )
        };
        let (changes, unknown_id) = match kind {
            Kind::Floating => (1, "404 not_found (server not found)".into()),
            Kind::Alias => (0, no_server("4343")),
        };
        let name = "node2.example.org";
        for (server, changes, part) in [(name, 0, no_server(name)), ("4343", changes, unknown_id)] {
            let run = Run::start(context, kind, cloud(), &format!("server={server}"));
            run.fails_at_once(changes, &part);
        }
    });
    let other = cloud_with(|settings| settings.floating_ips.clear());
    let run = Run::start(context, Kind::Floating, other, "");
    run.fails("there is no Floating IP 131.232.99.1 in the token's project: check ip");
}

fn cloud_the_requests_are_as_documented(context: &Context) {
    let run = Run::start(context, Kind::Floating, cloud(), "");
    run.succeeds();
    let requests = run.cloud.requests();
    let all: Vec<_> = requests
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(
        all,
        [
            "GET /v1/floating_ips?page=1&per_page=50",
            "POST /v1/floating_ips/4711/actions/assign",
            "GET /v1/actions/1337",
            "GET /v1/floating_ips/4711",
        ]
    );
    let post = &requests[1];
    assert_eq!(post.body, br#"{"server":43}"#);
    assert_eq!(post.header("Content-Type"), Some("application/json"));
    for request in &requests {
        assert_eq!(request.bearer(), Some(&*super::token()));
        assert_eq!(request.connection, 1, "they share a connection");
    }
    let actions = run.cloud.actions();
    let [Action { status, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(*status, Status::Success);
}

fn cloud_http_on_loopback_works(context: &Context) {
    let cloud = cloud_with(|settings| settings.listen.scheme = testbed::cloud::Scheme::Http);
    let run = Run::start(context, Kind::Floating, cloud, SHORT);
    run.succeeds_with(1);
    assert!(
        !run.node.log().contains("WARNING endpoint"),
        "{}",
        run.explain()
    );
}
