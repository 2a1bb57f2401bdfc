//! Alias IPs: half a move is finished whatever happens, and the other alias IPs stay where they are.

use std::net::Ipv4Addr;
use std::time::Duration;

use testbed::cloud::{Cloud, Fault, Network, Quirk, Refusal, Requests, Settings, When};
use testbed::uwsgi::PATIENCE;

use super::rows::{FINAL, lost, mangled, passing};
use super::{HERE, Kind, NETWORK, Run, SHORT, THERE, action_of, cloud, cloud_with};
use super::{keeps_its_promises, move_alias};
use crate::Test;
use crate::context::{Context, ip, lone_node, wait};

pub const TESTS: &[Test] = tests![
    cloud_alias_half_moved_survives_every_fault,
    cloud_alias_half_moved_survives_every_lost_answer,
    cloud_alias_half_moved_outlives_an_outage,
    cloud_alias_half_moved_outlives_no_connection,
    cloud_alias_half_moved_ends_with_a_refused_token,
    cloud_alias_that_is_not_released_yet_is_tried_again,
    cloud_alias_that_shows_late_is_not_taken_off_again,
    cloud_alias_of_no_server_is_set_in_one_step,
    cloud_alias_set_by_somebody_else_survives,
    cloud_aliases_of_one_action_take_turns,
    cloud_network_by_id_or_name,
    cloud_network_that_is_not_clear_is_asked_for,
    cloud_network_that_does_not_fit_is_named,
    cloud_alias_of_another_network_is_left_alone
];

const ALIAS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// Takeovers in which each of these meets the request that sets the address on this server.
fn half_moved(context: &Context, faults: impl IntoIterator<Item = Fault>) -> Vec<Run> {
    let runs = faults.into_iter().map(|fault| {
        let cloud = cloud();
        cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), Fault::Nothing);
        cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), fault.clone());
        Run::start(context, Kind::Alias, cloud, SHORT).named(fault)
    });
    runs.collect()
}

/// The 4th of what goes wrong for others: the address is on no server, and other aliases are lost.
fn cloud_alias_half_moved_survives_every_fault(context: &Context) {
    let refused_tokens = [Refusal::Unauthorized, Refusal::TokenReadonly];
    let errors = FINAL
        .into_iter()
        .filter(|error| !refused_tokens.contains(error));
    let errors = errors.map(Fault::from).chain(passing());
    for run in half_moved(context, errors) {
        run.succeeds_with(3);
    }
    let redirect = Fault::Redirect {
        status: 307,
        location: "https://elsewhere.example/v1".into(),
    };
    let quirks = [
        Fault::action_fails(),
        Quirk::ActionWithoutEffect.into(),
        redirect,
    ];
    for run in half_moved(context, quirks) {
        run.succeeds_with(3);
    }
}

fn cloud_alias_half_moved_survives_every_lost_answer(context: &Context) {
    for run in half_moved(context, lost()) {
        run.succeeds_with(3);
    }
    let applied = lost()
        .into_iter()
        .map(|fault| Fault::ApplyThen(Box::new(fault)));
    let late = Quirk::StaleReads(Duration::from_secs(3)).into();
    let others = [Fault::action_fails_applied(), late];
    for run in half_moved(context, applied.chain(mangled()).chain(others)) {
        run.succeeds_with(2);
    }
}

/// A takeover whose release is done, and whose next request waits for its answer.
fn released(context: &Context, keys: &str) -> Run {
    let cloud = cloud();
    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), Fault::Nothing);
    cloud.order(When::Once(Requests::CHANGE_ALIAS_IPS), Fault::Hang);
    let run = Run::start(context, Kind::Alias, cloud, keys);
    let sent = run
        .cloud
        .wait_for_requests(Requests::CHANGE_ALIAS_IPS, 2, PATIENCE);
    assert!(sent, "{}", run.explain());
    assert_eq!(run.cloud.holder(ALIAS.into()), None);
    run
}

/// The API fails in every way, and then works.
fn cloud_alias_half_moved_outlives_an_outage(context: &Context) {
    let outages = [
        (Fault::from(Refusal::NotFound), "404 not_found"),
        (Refusal::InvalidInput.into(), "422 invalid_input"),
        (Refusal::Unavailable.into(), "503 unavailable"),
        (Fault::page(404), "answered 404"),
        (Fault::Close, "closed"),
    ];
    let runs = outages.map(|(fault, sign)| {
        let run = released(context, "timeout=1").named(&fault);
        run.cloud.order(When::Always(Requests::ALL), fault);
        run.cloud.cut_connections();
        let asked = run.cloud.requests().len();
        (run, sign, asked)
    });
    for (run, sign, asked) in runs {
        // Reads fail, and the tries to change something, too.
        let failed = run
            .cloud
            .wait_for_requests(Requests::ALL, asked + 5, PATIENCE);
        assert!(failed, "{}", run.explain());
        assert!(
            sign == "closed" || run.node.log().contains(sign),
            "{}",
            run.explain()
        );
        run.cloud.clear_orders();
        run.succeeds();
    }
}

/// For longer than the 15 s after which another takeover leaves it to another node.
fn cloud_alias_half_moved_outlives_no_connection(context: &Context) {
    let run = released(context, "timeout=1");
    run.cloud.refuse_connections();
    run.cloud.cut_connections();
    let line = "trying again in 5.0 s";
    let tried = run.node.log().wait_for_nth(line, 3, PATIENCE);
    assert!(tried.is_some(), "{}", run.explain());
    run.cloud.accept_connections().unwrap();
    run.succeeds();
}

fn cloud_alias_half_moved_ends_with_a_refused_token(context: &Context) {
    for run in half_moved(
        context,
        [Refusal::Unauthorized, Refusal::TokenReadonly].map(Fault::from),
    ) {
        run.fails("401");
        assert_eq!(run.changes(), 2, "{}", run.explain());
    }
}

fn cloud_alias_that_is_not_released_yet_is_tried_again(context: &Context) {
    let runs = [Refusal::NoSubnetAvailable, Refusal::IpNotAvailable].map(|refusal| {
        let cloud = cloud_with(|settings| {
            settings.unreleased = refusal;
            settings.release_time = Duration::from_secs(5);
        });
        (
            Run::start(context, Kind::Alias, cloud, "").named(refusal),
            refusal,
        )
    });
    for (run, refusal) in runs {
        run.succeeds();
        assert!(run.node.log().contains(refusal.code()), "{}", run.explain());
    }
}

/// Reads lag behind, and an action is over at once: the requests must last for all of that time.
fn cloud_alias_that_shows_late_is_not_taken_off_again(context: &Context) {
    let cloud = cloud();
    let late = Quirk::StaleReads(Duration::from_secs(3));
    cloud.order(When::Always(Requests::CHANGE_ALIAS_IPS), late);
    Run::start(context, Kind::Alias, cloud, "").succeeds_with(2);
}

fn cloud_alias_of_no_server_is_set_in_one_step(context: &Context) {
    let cloud = cloud();
    move_alias(&cloud, 0);
    Run::start(context, Kind::Alias, cloud, "").succeeds_with(1);
}

/// Somebody else gives this server another alias IP, while the address is taken off the old one.
fn cloud_alias_set_by_somebody_else_survives(context: &Context) {
    let cloud = cloud();
    cloud.set_action_time(Duration::from_secs(3600));
    let run = Run::start(context, Kind::Alias, cloud, "");
    assert!(run.cloud.wait_for_actions(1, PATIENCE), "{}", run.explain());
    let others = [8, 55].map(|host| Ipv4Addr::new(10, 0, 0, host));
    run.cloud.set_aliases(HERE, NETWORK, &others);
    run.cloud.set_action_time(Duration::ZERO);
    run.cloud.end_actions();
    run.succeeds_with(2);
    let aliases = run.cloud.aliases(HERE, NETWORK);
    assert_eq!(aliases, [others[0], others[1], ALIAS]);
}

/// From one server and from two.
fn cloud_aliases_of_one_action_take_turns(context: &Context) {
    for third in [THERE, 44] {
        let other = Ipv4Addr::new(10, 0, 0, 101);
        let cloud = cloud_with(|settings| {
            let mut servers = settings.servers.iter_mut();
            let server = servers.find(|server| server.id == third).unwrap();
            server.private[0].aliases.push(other);
            settings.action_time = Duration::from_secs(1);
        });
        let ips = "10.0.0.100 10.0.0.101 10.0.0.102";
        let node = context.start(&lone_node(&action_of(&cloud, "hetzner-aliasip", ips, "")));
        wait(&node, "] i am now the Lord", PATIENCE);
        let explained = format!("{}\n{:#?}", node.log().text(), cloud.requests());
        keeps_its_promises(&cloud, &node, &explained);
        for address in ips.split(' ') {
            assert_eq!(cloud.holder(ip(address)), Some(HERE), "{explained}");
        }
        // None of them ran into the lock of another.
        let requests = cloud.requests();
        assert!(
            requests.iter().all(|request| request.status != Some(423)),
            "{explained}"
        );
        assert_eq!(cloud.posts(), 5, "{explained}");
    }
}

fn cloud_network_by_id_or_name(context: &Context) {
    for network in ["7", "net"] {
        let cloud = cloud_with(two_networks);
        let keys = format!("network={network}");
        Run::start(context, Kind::Alias, cloud, &keys).succeeds_with(2);
    }
}

/// Network 8 contains the address as well, and this server is attached to it.
fn two_networks(settings: &mut Settings) {
    let range = Ipv4Addr::new(10, 0, 0, 0);
    settings.networks.push(Network::new(8, "other", range, 8));
    for (host, id) in [(3, HERE), (4, 44)] {
        let own = Ipv4Addr::new(10, 9, 0, host);
        let mut servers = settings.servers.iter_mut();
        let server = servers.find(|server| server.id == id).unwrap();
        *server = server.clone().attached(8, own, &[]);
    }
}

fn cloud_network_that_is_not_clear_is_asked_for(context: &Context) {
    // It is an alias in one of them, so that is the one.
    Run::start(context, Kind::Alias, cloud_with(two_networks), "").succeeds_with(2);
    let ambiguous = |cloud: Cloud| {
        let run = Run::start(context, Kind::Alias, cloud, "");
        run.fails(
            "several Networks of this server contain 10.0.0.100 (net (7), other (8)), and it is not \
             clear which one is meant: write network=ID or network=NAME",
        );
        assert_eq!(run.changes(), 0, "{}", run.explain());
    };
    let nowhere = cloud_with(two_networks);
    move_alias(&nowhere, 0);
    ambiguous(nowhere);
    let twice = cloud_with(two_networks);
    twice.set_aliases(44, 8, &[ALIAS]);
    ambiguous(twice);
}

fn cloud_network_that_does_not_fit_is_named(context: &Context) {
    let elsewhere = |settings: &mut Settings| {
        let range = Ipv4Addr::new(10, 1, 0, 0);
        settings.networks.push(Network::new(8, "other", range, 16));
    };
    let wrong = [
        (
            "network=8",
            "server 43 is not attached to Network 8: attach it, or check network",
        ),
        (
            "network=other",
            "server 43 is not attached to Network 8: attach it, or check network",
        ),
        (
            "network=nothing",
            "there is no Network nothing in the token's project",
        ),
        (
            "ip=10.1.0.100",
            "no Network that server 43 is attached to contains 10.1.0.100: attach it to the Network \
             of the address, or check ip",
        ),
        (
            "ip=10.0.1.2",
            "10.0.1.2 is the address of server node1 (42) itself in Network 7",
        ),
        (
            "ip=10.0.1.3",
            "10.0.1.3 is the address of server node2 (43) itself in Network 7",
        ),
    ];
    let runs = wrong.map(|(keys, part)| {
        let cloud = cloud_with(elsewhere);
        let line = super::action(&cloud, Kind::Alias, keys);
        (context.start(&lone_node(&line)), cloud, part)
    });
    for (node, cloud, part) in runs {
        let line = wait(&node, "] ERROR 10.", PATIENCE);
        assert!(line.contains(part), "{part}: {line}");
        let stands = "this node votes, but does not stand for election";
        wait(&node, stands, PATIENCE);
        assert_eq!(cloud.posts(), 0, "{part}");
    }
}

/// This server is not attached to it, so the same address there is another one.
fn cloud_alias_of_another_network_is_left_alone(context: &Context) {
    let cloud = cloud_with(|settings| {
        let range = Ipv4Addr::new(10, 0, 0, 0);
        settings.networks.push(Network::new(8, "other", range, 16));
        let mut servers = settings.servers.iter_mut();
        let server = servers.find(|server| server.id == 44).unwrap();
        let own = Ipv4Addr::new(10, 0, 3, 4);
        *server = server.clone().attached(8, own, &[ALIAS]);
    });
    let run = Run::start(context, Kind::Alias, cloud, "");
    let requests = |run: &Run| run.explain();
    wait(&run.node, "] i am now the Lord", PATIENCE);
    assert!(
        run.cloud.aliases(HERE, NETWORK).contains(&ALIAS),
        "{}",
        requests(&run)
    );
    assert_eq!(run.cloud.aliases(44, 8), [ALIAS], "{}", requests(&run));
}
