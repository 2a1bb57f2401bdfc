//! The commands for an operator, and what a node shows: switch, unroute, check, metrics and the status
//! line, for Cloud addresses.

use std::process::Stdio;
use std::time::Duration;

use testbed::cloud::{Cloud, Fault, Refusal, Requests, When};
use testbed::uwsgi::PATIENCE;

use super::{HERE, Kind, THERE, action, action_of, cloud, requests, side_by_side, token};
use crate::Test;
use crate::command::{self, Done, check, command_line, run};
use crate::context::{Context, lone_node};
use crate::metrics;
use crate::pty::Session;

pub const TESTS: &[Test] = tests![
    cloud_switch_by_hand_is_a_takeover,
    cloud_switch_does_nothing_when_all_is_well,
    cloud_switch_stops_at_a_refused_token,
    cloud_switch_asks_on_a_terminal,
    cloud_switch_of_an_alias_ip_is_not_interrupted_half_way,
    cloud_switch_that_is_interrupted_begins_no_move,
    cloud_unroute_by_hand,
    cloud_check_only_reads,
    cloud_check_finds_what_is_wrong,
    cloud_metrics_and_status_of_a_takeover,
    cloud_metrics_of_a_failure_and_an_alarm
];

fn by_hand(context: &Context, kind: Kind, cloud: &Cloud, option: &str) -> Done {
    let config = lone_node(&action(cloud, kind, ""));
    let done = run(context, &config, &[option, "--hetzner-yes"]);
    assert!(!done.out.contains(&token()) && !done.log.contains(&token()));
    done
}

fn there(kind: Kind) -> &'static str {
    match kind {
        Kind::Floating => "server 42",
        Kind::Alias => "server node1 (42)",
    }
}

fn cloud_switch_by_hand_is_a_takeover(context: &Context) {
    side_by_side(|kind| {
        let (cloud, ip) = (cloud(), kind.ip());
        cloud.order(When::Once(kind.changes()), Fault::page(503));
        let done = by_hand(context, kind, &cloud, "--hetzner-switch");
        assert_eq!(done.status, Some(0), "{}", done.out);
        let lines: Vec<&str> = done.out.lines().collect();
        assert_eq!(lines[0], format!("{ip} is routed to {}", there(kind)));
        let retry = format!("{ip} -> server 43: the Cloud API answered 503");
        assert!(lines[1].starts_with(&retry), "{lines:?}");
        let end = format!("{ip} is routed to server 43 (after ");
        assert!(lines.last().unwrap().starts_with(&end), "{lines:?}");
        assert_eq!(cloud.holder(ip), Some(HERE));
    });
}

fn cloud_switch_does_nothing_when_all_is_well(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud();
        let config = lone_node(&action(&cloud, kind, "server=42"));
        let done = run(context, &config, &["--hetzner-switch", "--hetzner-yes"]);
        let line = format!(
            "{} is routed to server 42 already; nothing is to be done\n",
            kind.ip()
        );
        assert_eq!((done.status, done.out), (Some(0), line));
        assert_eq!(cloud.posts(), 0);
    });
}

fn cloud_switch_stops_at_a_refused_token(context: &Context) {
    let cloud = cloud();
    cloud.set_token("another");
    let ips = "131.232.99.1 2001:db8::";
    let config = lone_node(&action_of(&cloud, "hetzner-floatingip", ips, ""));
    let done = run(context, &config, &["--hetzner-switch", "--hetzner-yes"]);
    assert_eq!(done.status, Some(1));
    let line = "ERROR 131.232.99.1: the Cloud API refused the token (401 unauthorized";
    assert!(done.out.starts_with(line), "{}", done.out);
    assert_eq!(cloud.requests().len(), 1, "{}", done.out);
}

fn cloud_switch_asks_on_a_terminal(context: &Context) {
    side_by_side(|kind| {
        let (cloud, directory) = (cloud(), tempfile::tempdir().unwrap());
        let ini = lone_node(&action(&cloud, kind, "")).ini();
        for (answer, status, holder) in [("n\n", 1, THERE), ("y\n", 0, HERE)] {
            let mut command = command_line(context, directory.path(), &ini, &["--hetzner-switch"]);
            command.stderr(Stdio::null());
            let mut session = Session::start(command);
            session.wait(
                &format!("Route {} to server 43? [y/N]", kind.ip()),
                PATIENCE,
            );
            session.type_in(answer);
            let end = session.end(PATIENCE);
            assert_eq!(end, Some(status), "{:?}", session.screen());
            assert_eq!(cloud.holder(kind.ip()), Some(holder));
        }
    });
}

fn switch_on_a_terminal(context: &Context, cloud: &Cloud) -> (Session, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let ini = lone_node(&action(cloud, Kind::Alias, "")).ini();
    let mut command = command_line(context, directory.path(), &ini, &["--hetzner-switch"]);
    command.stderr(Stdio::null());
    let mut session = Session::start(command);
    session.wait("[y/N]", PATIENCE);
    session.type_in("y\n");
    (session, directory)
}

fn cloud_switch_of_an_alias_ip_is_not_interrupted_half_way(context: &Context) {
    for is_ended in [false, true] {
        let cloud = cloud();
        cloud.set_action_time(Duration::from_secs(60));
        let (mut session, _directory) = switch_on_a_terminal(context, &cloud);
        assert!(cloud.wait_for_actions(1, PATIENCE));
        session.type_in("\x03");
        session.wait(
            "finishing the move, because 10.0.0.100 is on no server meanwhile",
            PATIENCE,
        );
        if is_ended {
            session.type_in("\x03");
            let end = session.end(PATIENCE);
            assert_eq!(end, Some(130), "{:?}", session.screen());
            session.wait("interrupted after ", PATIENCE);
            session.wait("It may be on no server, and nothing goes on", PATIENCE);
            assert_eq!(cloud.posts(), 1);
            continue;
        }
        cloud.set_action_time(Duration::ZERO);
        cloud.end_actions();
        let end = session.end(PATIENCE);
        assert_eq!(end, Some(0), "{:?}", session.screen());
        session.wait("10.0.0.100 is routed to server 43 (after ", PATIENCE);
        assert_eq!(cloud.holder(Kind::Alias.ip()), Some(HERE));
    }
}

fn cloud_switch_that_is_interrupted_begins_no_move(context: &Context) {
    let cloud = cloud();
    let changes = Requests::CHANGE_ALIAS_IPS;
    cloud.order(When::Always(changes), Refusal::Locked);
    let (mut session, _directory) = switch_on_a_terminal(context, &cloud);
    session.wait("answered 423", PATIENCE);
    session.type_in("\x03");
    let end = session.end(PATIENCE);
    assert_eq!(end, Some(130), "{:?}", session.screen());
    session.wait("10.0.0.100 is routed to server node1 (42)", PATIENCE);
    session.wait("This command did not take it off a server", PATIENCE);
    assert_eq!(cloud.holder(Kind::Alias.ip()), Some(THERE));
}

fn cloud_unroute_by_hand(context: &Context) {
    side_by_side(|kind| {
        let (cloud, ip) = (cloud(), kind.ip());
        let change = match kind {
            Kind::Floating => Requests::UNASSIGN,
            Kind::Alias => Requests::CHANGE_ALIAS_IPS,
        };
        cloud.order(When::Once(change.clone()), Refusal::Locked);
        let done = by_hand(context, kind, &cloud, "--hetzner-unroute");
        let line = format!("{ip} is routed to no server (after ");
        assert!(
            done.out.contains(&line),
            "{}\n{}",
            done.out,
            requests(&cloud)
        );
        assert_eq!((done.status, cloud.holder(ip)), (Some(0), None));
        assert_eq!((cloud.posts(), cloud.count(change)), (2, 2));
        let again = by_hand(context, kind, &cloud, "--hetzner-unroute");
        assert!(
            again.out.contains("is routed to no server already"),
            "{}",
            again.out
        );
        assert_eq!((again.status, cloud.posts()), (Some(0), 2));
        // The others are still there.
        for (server, others) in super::OTHERS {
            assert_eq!(
                cloud.aliases(server, super::NETWORK).len(),
                match kind {
                    Kind::Floating if server == THERE => others.len() + 1,
                    Kind::Floating | Kind::Alias => others.len(),
                }
            );
        }
    });
}

fn cloud_check_only_reads(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud();
        let report = check(context, &action(&cloud, kind, ""));
        assert_eq!(report.status, Some(0));
        let (ip, name) = (kind.ip(), "node2 (43)");
        let not_here = match kind {
            Kind::Floating => format!("{ip} is routed to server 42, not to this server"),
            Kind::Alias => format!("{ip} is routed to {}, not to this server", there(kind)),
        };
        report.has("login", "ok", "the Cloud API accepts the token");
        report.has(
            "server",
            "ok",
            &format!("this is server {name} (by the key server)"),
        );
        report.has("address", "ok", &format!("{ip} is "));
        report.has("route", "ok", &not_here);
        report.has("service", "ok", "certificate is verified");
        report.has("rate-limit", "ok", "more requests");
        assert_eq!(cloud.posts(), 0);
        assert!(
            (2..=3).contains(&cloud.requests().len()),
            "{}",
            requests(&cloud)
        );
    });
}

/// The 1st of what goes wrong for others, too: the API says assigned, and no interface has the address.
fn cloud_check_finds_what_is_wrong(context: &Context) {
    let cloud = cloud();
    let floating = |ips, keys| check(context, &action_of(&cloud, "hetzner-floatingip", ips, keys));
    let report = floating("131.232.99.1", "server=42");
    report.has("route", "ok", "which is this server");
    report.has(
        "interface",
        "warning",
        "131.232.99.1 is not configured on any interface of this host, which will not answer to it",
    );
    let report = floating("131.232.99.9", "server=node9");
    report.has(
        "server",
        "error",
        "there is no server node9 in the token's project",
    );
    report.has(
        "address",
        "error",
        "there is no Floating IP 131.232.99.9 in the token's project",
    );
    let report = floating("10.0.0.100", "");
    report.has("configuration", "error", "hetzner-aliasip moves those");
    cloud.set_token("another");
    let before = cloud.requests().len();
    let report = floating("131.232.99.1 2001:db8::", "");
    report.has("login", "error", "the Cloud API refused the token (401");
    report.has(
        "login",
        "error",
        "not tried: the Cloud API has refused this token",
    );
    assert_eq!(cloud.requests().len(), before + 1, "{}", requests(&cloud));
    cloud.refuse_connections();
    floating("131.232.99.1", "").has("service", "error", "no connection to localhost");
    let done = command::run(
        context,
        &lone_node(&action(&cloud, Kind::Floating, "")),
        &["--hetzner-check"],
    );
    let heading = "legion \"failover\", legion-lord: hetzner-floatingip, 131.232.99.1\n";
    assert!(done.out.contains(heading), "{}", done.out);
    assert!(!done.out.contains(&token()), "{}", done.out);
}

fn metric(kind: Kind, name: &str) -> String {
    let ip = kind.ip().to_string().replace('.', "_");
    format!("hetzner.failover.{ip}.{name}")
}

fn cloud_metrics_and_status_of_a_takeover(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud();
        let config = lone_node(&action(&cloud, kind, "watch=10"));
        let shown = metrics::start(context, &config);
        let status = format!("legion failover: Lord, fit; {} leads here", kind.ip());
        shown.wait_for_status(&status);
        let sent = i64::try_from(cloud.requests().len()).unwrap();
        let values = [
            ("lord", 1),
            ("routed_here", 1),
            ("takeovers", 1),
            ("failures", 0),
            ("requests", sent),
        ];
        let values = values.map(|(name, value)| (metric(kind, name), value));
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        shown.wait_for(&values, PATIENCE);
        match kind {
            Kind::Floating => cloud.set_holder(kind.ip(), Some(44)),
            Kind::Alias => super::move_alias(&cloud, 0),
        }
        shown.wait_for(&[(&metric(kind, "routed_here"), 0)], PATIENCE);
    });
}

fn cloud_metrics_of_a_failure_and_an_alarm(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud();
        cloud.order(When::Always(kind.changes()), Refusal::Forbidden);
        let config =
            lone_node(&action(&cloud, kind, "alarm=pager")).line("alarm = pager log:PAGER");
        let shown = metrics::start(context, &config);
        let values = [
            ("lord", 0),
            ("routed_here", 0),
            ("takeovers", 1),
            ("failures", 1),
        ];
        let values = values.map(|(name, value)| (metric(kind, name), value));
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        shown.wait_for(&values, PATIENCE);
        let page = format!(
            " PAGER [{}] ERROR {} is not routed",
            kind.action(),
            kind.ip()
        );
        crate::context::wait(&shown.node, &page, PATIENCE);
    });
}
