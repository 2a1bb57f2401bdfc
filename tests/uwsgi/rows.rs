//! The table of a takeover's answers, row by row, through a real uWSGI and over TLS.

use std::process::Command;
use std::time::Duration;

use testbed::robot::{Certificate, Fault, Method, Robot, Scheme, TlsVersions, When};
use testbed::uwsgi::{Node, PATIENCE, process};

use crate::Test;
use crate::context::{Context, action, ip, lone_node, robot, robot_with, wait};

/// Short enough for a test, long enough for five posts.
const SHORT: &str = "timeout=2,deadline=6";

pub const TESTS: &[Test] = tests![
    row_ours_is_done,
    row_another_address_is_confirmed,
    row_no_readable_object_is_confirmed,
    row_already_routed_is_done,
    row_locked_is_waited_out_and_posted_again,
    row_locked_without_a_status_is_waited_out,
    row_another_conflict_is_confirmed,
    row_conflict_without_a_code_is_confirmed,
    row_401_fails_at_once,
    row_401_to_a_confirm_fails_at_once,
    row_rate_limit_is_confirmed_once,
    row_rate_limit_fails,
    row_429_fails,
    row_invalid_input_fails_at_once,
    row_not_found_fails_at_once,
    row_new_server_not_found_fails_at_once,
    row_403_fails_at_once,
    row_3xx_fails_at_once_naming_the_host,
    row_5xx_is_confirmed_and_posted_again,
    row_5xx_that_switched_is_confirmed,
    row_5xx_for_ever_is_posted_five_times,
    row_no_connection_is_tried_again,
    row_no_connection_ends_at_the_deadline,
    row_a_cut_handshake_is_tried_again,
    row_a_hanging_handshake_is_tried_again,
    row_an_unknown_host_is_no_connection,
    row_an_expired_certificate_fails_at_once,
    row_certificate_that_is_not_valid_yet_fails,
    row_a_certificate_for_another_name_fails_at_once,
    row_an_unknown_issuer_fails_at_once,
    row_a_lost_answer_is_confirmed_timeout,
    row_a_lost_answer_is_confirmed_reset,
    row_a_lost_answer_is_confirmed_close,
    row_a_lost_answer_is_confirmed_truncated,
    row_a_lost_answer_is_confirmed_garbage,
    row_a_lost_answer_is_confirmed_oversized,
    row_a_lost_answer_is_confirmed_dripping,
    row_a_lost_post_that_did_nothing_is_posted_again,
    confirm_waits_while_processing,
    confirm_of_a_2xx_without_get_is_done_unconfirmed,
    confirm_of_a_2xx_without_answer_fails_at_the_deadline,
    a_hanging_webservice_ends_at_the_deadline,
    a_hanging_lookup_ends_at_the_deadline,
    a_slow_switch_is_waited_for,
    requests_share_a_connection,
    ssl_no_verify_takes_any_certificate,
    plain_http_on_loopback_works,
    tls_1_2_and_1_3_work,
    an_ipv6_subnet_is_routed,
    the_request_is_as_documented,
    an_answer_about_another_ip_is_not_believed
];

/// Orders a fault for the first post.
fn post(fault: Fault) -> Robot {
    let robot = robot();
    robot.order(When::Once(Method::Post), fault);
    robot
}

fn error(status: u16, code: &str) -> Fault {
    Fault::error(status, code, "a message")
}

fn answer(status: u16, body: &str) -> Fault {
    Fault::Answer {
        status,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: body.into(),
    }
}

#[track_caller]
fn routed(robot: &Robot) {
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

#[track_caller]
fn not_routed(robot: &Robot) {
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("2.2.2.2")));
}

#[track_caller]
fn asked(robot: &Robot, posts: usize, gets: usize) {
    let requests = robot.requests();
    assert_eq!(
        (robot.posts(), robot.count(Method::Get)),
        (posts, gets),
        "{requests:?}"
    );
}

fn row_ours_is_done(context: &Context) {
    let robot = robot();
    context
        .take_over(&action(&robot, ""))
        .is_routed("1 request");
    routed(&robot);
    asked(&robot, 1, 0);
}

fn row_another_address_is_confirmed(context: &Context) {
    let robot = post(answer(
        200,
        r#"{"failover":{"ip":"4.4.4.4","active_server_ip":"3.3.3.3"}}"#,
    ));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("3 requests");
    routed(&robot);
    asked(&robot, 2, 1);
}

fn row_no_readable_object_is_confirmed(context: &Context) {
    for body in ["", "[]", "{\"failover\":{}}", "<html>"] {
        let robot = post(Fault::ApplyThen(Box::new(answer(200, body))));
        context
            .take_over(&action(&robot, SHORT))
            .is_routed("2 requests");
        asked(&robot, 1, 1);
    }
}

fn row_already_routed_is_done(context: &Context) {
    let robot = robot();
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    context
        .take_over(&action(&robot, ""))
        .is_routed("1 request");
    assert_eq!(robot.requests()[0].status, Some(409));
}

/// Locks the failover IP until the node has noticed.
fn locked_until_noticed(context: &Context, robot: &Robot, sign: &str) {
    let for_ever = Duration::from_secs(3600);
    robot.lock(ip("4.4.4.4"), for_ever, sign == "a switch is running");
    let node = context.start(&lone_node(&action(robot, "")));
    wait(&node, sign, PATIENCE);
    robot.lock(ip("4.4.4.4"), Duration::ZERO, true);
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    routed(robot);
    assert_eq!(robot.posts(), 2);
}

fn row_locked_is_waited_out_and_posted_again(context: &Context) {
    locked_until_noticed(context, &robot(), "a switch is running");
}

fn row_locked_without_a_status_is_waited_out(context: &Context) {
    let robot = robot_with(|settings| settings.shows_status = false);
    locked_until_noticed(context, &robot, "FAILOVER_LOCKED");
}

fn row_another_conflict_is_confirmed(context: &Context) {
    let robot = post(Fault::ApplyThen(Box::new(error(409, "CONFLICT"))));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("2 requests");
    asked(&robot, 1, 1);
}

fn row_conflict_without_a_code_is_confirmed(context: &Context) {
    let robot = post(Fault::ApplyThen(Box::new(answer(409, "no"))));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("2 requests");
    let robot = post(answer(409, "{}"));
    robot.order(When::Always(Method::Get), Fault::page(405));
    context.take_over(&action(&robot, SHORT)).is_unconfirmed();
}

fn row_401_fails_at_once(context: &Context) {
    let robot = robot();
    robot.set_password("another");
    let takeover = context.take_over(&action(&robot, ""));
    takeover.failed("refused the login (401): check username and password");
    takeover.failed("blocks this address for 10 minutes");
    asked(&robot, 1, 0);
}

fn row_401_to_a_confirm_fails_at_once(context: &Context) {
    let robot = post(error(503, "X"));
    robot.order(When::Always(Method::Get), Fault::unauthorized());
    context
        .take_over(&action(&robot, SHORT))
        .failed("refused the login");
    asked(&robot, 1, 1);
}

fn row_rate_limit_is_confirmed_once(context: &Context) {
    let robot = post(Fault::rate_limit_exceeded(50, Duration::from_secs(3600)));
    robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("2 requests");
}

fn row_rate_limit_fails(context: &Context) {
    let robot = robot_with(|settings| settings.posts_per_hour = Some(0));
    let takeover = context.take_over(&action(&robot, SHORT));
    takeover.failed("RATE_LIMIT_EXCEEDED");
    takeover.failed("0 requests in 3600 s");
    asked(&robot, 1, 1);
}

fn row_429_fails(context: &Context) {
    let robot = post(answer(429, ""));
    context
        .take_over(&action(&robot, SHORT))
        .failed("rate limit is reached (429");
    asked(&robot, 1, 1);
}

fn row_invalid_input_fails_at_once(context: &Context) {
    let robot = post(Fault::invalid_input(&["active_server_ip"], &["ip"]));
    let takeover = context.take_over(&action(&robot, ""));
    takeover.failed("400 INVALID_INPUT");
    takeover.failed("missing: active_server_ip, invalid: ip");
    asked(&robot, 1, 0);
}

fn row_not_found_fails_at_once(context: &Context) {
    let robot = robot_with(|settings| settings.failovers.clear());
    let takeover = context.take_over(&action(&robot, ""));
    takeover.failed("404 NOT_FOUND");
    takeover.failed("not in this account");
    asked(&robot, 1, 0);
}

fn row_new_server_not_found_fails_at_once(context: &Context) {
    let robot = robot_with(|settings| settings.servers = vec![ip("2.2.2.2")]);
    let takeover = context.take_over(&action(&robot, ""));
    takeover.failed("404 FAILOVER_NEW_SERVER_NOT_FOUND");
    takeover.failed("check active_ip");
    asked(&robot, 1, 0);
}

fn row_403_fails_at_once(context: &Context) {
    let robot = post(error(403, "FORBIDDEN"));
    context
        .take_over(&action(&robot, ""))
        .failed("403 FORBIDDEN (a message)");
    asked(&robot, 1, 0);
}

fn row_3xx_fails_at_once_naming_the_host(context: &Context) {
    for status in [301, 302, 303, 307, 308] {
        let robot = post(Fault::Redirect {
            status,
            location: "https://elsewhere.example/failover".into(),
        });
        let takeover = context.take_over(&action(&robot, ""));
        takeover.failed(&format!("{status}, a redirect to elsewhere.example"));
        asked(&robot, 1, 0);
    }
}

fn row_5xx_is_confirmed_and_posted_again(context: &Context) {
    for fault in [
        Fault::failed(),
        error(503, "FAILOVER_NOT_COMPLETE"),
        error(500, "INTERNAL_ERROR"),
        Fault::page(502),
        Fault::page(503),
        Fault::page(504),
    ] {
        let robot = post(fault);
        context
            .take_over(&action(&robot, SHORT))
            .is_routed("3 requests");
        routed(&robot);
        asked(&robot, 2, 1);
    }
}

fn row_5xx_that_switched_is_confirmed(context: &Context) {
    let robot = post(Fault::ApplyThen(Box::new(error(
        500,
        "FAILOVER_NOT_COMPLETE",
    ))));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("2 requests");
    asked(&robot, 1, 1);
}

fn row_5xx_for_ever_is_posted_five_times(context: &Context) {
    let robot = robot();
    robot.order(When::Always(Method::Post), error(503, "INTERNAL_ERROR"));
    let takeover = context.take_over(&action(&robot, SHORT));
    takeover.failed("503 INTERNAL_ERROR (a message); it is routed to 2.2.2.2 (the deadline");
    assert_eq!(robot.posts(), 5);
    not_routed(&robot);
    assert_eq!(takeover.node.log().count("to route it in"), 4);
}

fn row_no_connection_is_tried_again(context: &Context) {
    let robot = robot();
    robot.refuse_connections();
    let node = context.start(&lone_node(&action(&robot, "")));
    wait(&node, "no connection to localhost", PATIENCE);
    robot.accept_connections().unwrap();
    let end = wait(&node, "4.4.4.4 is routed", PATIENCE);
    assert!(end.ends_with("1 request)"), "{end}");
    routed(&robot);
}

fn row_no_connection_ends_at_the_deadline(context: &Context) {
    let robot = robot();
    robot.refuse_connections();
    let takeover = context.take_over(&action(&robot, SHORT));
    takeover.failed("no connection to localhost: Connection refused");
    takeover.failed("the deadline of 6 s has passed");
    takeover.failed("0 requests)");
}

fn row_a_cut_handshake_is_tried_again(context: &Context) {
    let robot = post(Fault::CutHandshake);
    context
        .take_over(&action(&robot, ""))
        .is_routed("1 request");
    asked(&robot, 1, 0);
}

fn row_a_hanging_handshake_is_tried_again(context: &Context) {
    let robot = post(Fault::HangHandshake);
    let takeover = context.take_over(&action(&robot, "timeout=1,deadline=6"));
    takeover.is_routed("1 request");
    assert!(takeover.node.log().contains("no connection to localhost"));
}

fn row_an_unknown_host_is_no_connection(context: &Context) {
    let robot = robot();
    let action = action(&robot, "url=https://robot.invalid/x,timeout=1,deadline=3");
    context
        .take_over(&action)
        .failed("no connection to robot.invalid");
    assert_eq!(robot.connections(), 0);
}

fn certificate(context: &Context, certificate: Certificate, reason: &str) {
    let robot = robot_with(|settings| settings.certificate = certificate);
    let takeover = context.take_over(&action(&robot, ""));
    takeover.failed("the certificate of localhost does not verify");
    takeover.failed(reason);
    takeover.failed("0 requests)");
    assert_eq!(robot.requests().len(), 0);
    assert_eq!(robot.connections(), 1);
}

fn row_an_expired_certificate_fails_at_once(context: &Context) {
    certificate(context, Certificate::Expired, "it has expired");
}

fn row_certificate_that_is_not_valid_yet_fails(context: &Context) {
    certificate(context, Certificate::NotYetValid, "it is not valid yet");
}

fn row_a_certificate_for_another_name_fails_at_once(context: &Context) {
    certificate(context, Certificate::WrongName, "different host name");
}

fn row_an_unknown_issuer_fails_at_once(context: &Context) {
    certificate(context, Certificate::UnknownCa, "its issuer is not trusted");
}

/// The switch happens, the answer does not: a question finds out.
fn lost(context: &Context, fault: Fault) {
    let robot = post(Fault::ApplyThen(Box::new(fault)));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("2 requests");
    routed(&robot);
    asked(&robot, 1, 1);
}

fn row_a_lost_answer_is_confirmed_timeout(context: &Context) {
    lost(context, Fault::Hang);
}

fn row_a_lost_answer_is_confirmed_reset(context: &Context) {
    lost(context, Fault::Reset);
}

fn row_a_lost_answer_is_confirmed_close(context: &Context) {
    lost(context, Fault::Close);
}

fn row_a_lost_answer_is_confirmed_truncated(context: &Context) {
    lost(context, Fault::Truncate);
}

fn row_a_lost_answer_is_confirmed_garbage(context: &Context) {
    lost(context, Fault::Garbage);
}

fn row_a_lost_answer_is_confirmed_oversized(context: &Context) {
    lost(context, Fault::Oversize { bytes: 1 << 20 });
    lost(context, Fault::OversizeAnnounced { bytes: 1 << 34 });
    lost(context, Fault::Endless);
}

fn row_a_lost_answer_is_confirmed_dripping(context: &Context) {
    let every = Duration::from_secs(1);
    lost(context, Fault::Drip { every });
    lost(context, Fault::DripHeaders { every });
}

fn row_a_lost_post_that_did_nothing_is_posted_again(context: &Context) {
    for fault in [Fault::Reset, Fault::Close, Fault::Garbage] {
        let robot = post(fault);
        context
            .take_over(&action(&robot, SHORT))
            .is_routed("3 requests");
        asked(&robot, 2, 1);
    }
}

fn confirm_waits_while_processing(context: &Context) {
    let robot = robot();
    robot.set_switch_time(Duration::from_secs(3));
    robot.order(
        When::Once(Method::Post),
        Fault::StartThen(Box::new(Fault::Reset)),
    );
    let takeover = context.take_over(&action(&robot, ""));
    takeover.is_routed("4 requests");
    assert!(takeover.node.log().contains("a switch is running"));
    routed(&robot);
    asked(&robot, 1, 3);
}

fn confirm_of_a_2xx_without_get_is_done_unconfirmed(context: &Context) {
    let robot = post(Fault::ApplyThen(Box::new(answer(204, ""))));
    robot.order(When::Always(Method::Get), Fault::page(404));
    context.take_over(&action(&robot, SHORT)).is_unconfirmed();
    asked(&robot, 1, 1);
}

fn confirm_of_a_2xx_without_answer_fails_at_the_deadline(context: &Context) {
    let robot = post(answer(200, "ok"));
    robot.order(When::Always(Method::Get), Fault::page(503));
    let takeover = context.take_over(&action(&robot, "timeout=1,deadline=4"));
    takeover.failed("accepted but not confirmed: ");
    assert_eq!(robot.posts(), 1);
}

fn a_hanging_webservice_ends_at_the_deadline(context: &Context) {
    let robot = robot();
    robot.order(When::Always(Method::Any), Fault::Hang);
    let takeover = context.take_over(&action(&robot, "timeout=1,deadline=4"));
    takeover.failed("incomplete response from localhost: it timed out");
    takeover.failed("the deadline of 4 s has passed");
}

/// A C library that never finds a name.
const NO_LOOKUP: &str = "#include <unistd.h>
int getaddrinfo(const char *a, const char *b, const void *c, void *d) { for (;;) pause(); }
";

fn a_hanging_lookup_ends_at_the_deadline(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("lookup.c"), NO_LOOKUP).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "lookup.so", "lookup.c"])
        .current_dir(directory.path())
        .status();
    assert!(status.expect("cc runs").success());
    let robot = robot();
    let action = action(&robot, "timeout=1,deadline=4");
    let node = Node::start_with(&context.launch(), &lone_node(&action).ini(), |command| {
        command.env("LD_PRELOAD", directory.path().join("lookup.so"));
    });
    let node = node.unwrap();
    let end = wait(&node, "ERROR 4.4.4.4 is not routed", PATIENCE);
    assert!(
        end.contains("no connection to localhost: resolving its name timed out"),
        "{end}"
    );
    assert!(end.ends_with("0 requests)"), "{end}");
    // However often it was tried, one look-up hangs, beside main and legion.
    wait(&node, "suspending myself", PATIENCE);
    assert_eq!(process::threads(node.pid()), 3);
}

fn a_slow_switch_is_waited_for(context: &Context) {
    let robot = robot();
    robot.set_switch_time(Duration::from_secs(12));
    let takeover = context.take_over(&action(&robot, ""));
    takeover.is_routed("1 request");
    let log = takeover.node.log();
    assert_eq!(
        log.count("still waiting after 10 s (deadline 300 s)"),
        1,
        "{}",
        log.text()
    );
}

fn requests_share_a_connection(context: &Context) {
    let robot = post(error(503, "X"));
    context
        .take_over(&action(&robot, SHORT))
        .is_routed("3 requests");
    assert_eq!(robot.connections(), 1);
}

fn ssl_no_verify_takes_any_certificate(context: &Context) {
    let robot = robot_with(|settings| settings.certificate = Certificate::UnknownCa);
    let takeover = context.take_over(&action(&robot, "ssl_no_verify"));
    takeover.is_routed("1 request");
    assert!(takeover.node.log().contains("[hetzner] WARNING legion \"failover\", legion-lord: hetzner-failoverip: ssl_no_verify is on"));
}

fn plain_http_on_loopback_works(context: &Context) {
    let robot = robot_with(|settings| settings.scheme = Scheme::Http);
    let takeover = context.take_over(&action(&robot, ""));
    takeover.is_routed("1 request");
    assert!(!takeover.node.log().contains("[hetzner] WARNING"));
}

fn tls_1_2_and_1_3_work(context: &Context) {
    for tls in [TlsVersions::Only12, TlsVersions::Only13] {
        let robot = robot_with(|settings| settings.tls = tls);
        context
            .take_over(&action(&robot, ""))
            .is_routed("1 request");
    }
}

fn an_ipv6_subnet_is_routed(context: &Context) {
    let (subnet, server) = ("2a01:4f8:fff1::", "2a01:4f8:d0a:2003::");
    let robot = robot_with(|settings| {
        settings.failovers = vec![(ip(subnet), None)];
        settings.servers = vec![ip(server)];
    });
    let action = format!(
        "hetzner-failoverip:user=FOO,pass=BAR,ip={subnet},active_server_ip=2a01:4f8:0d0a:2003:0::,\
         url={},ca_file={}",
        robot.url(ip(subnet)),
        robot.ca_file().display()
    );
    let takeover = context.take_over(&action);
    let end = format!("{subnet} is routed to {server} (after ");
    assert!(takeover.end.contains(&end), "{}", takeover.end);
    assert_eq!(robot.route(ip(subnet)), Some(ip(server)));
}

fn the_request_is_as_documented(context: &Context) {
    let robot = robot();
    context
        .take_over(&action(&robot, ""))
        .is_routed("1 request");
    let request = &robot.requests()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/failover/4.4.4.4");
    assert_eq!(request.body, b"active_server_ip=1.1.1.1");
    assert_eq!(
        request.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(request.login(), Some(("FOO".into(), "BAR".into())));
    let agent = request.header("user-agent").unwrap_or_default();
    assert_eq!(agent, concat!("uwsgi-hetzner/", env!("CARGO_PKG_VERSION")));
}

fn an_answer_about_another_ip_is_not_believed(context: &Context) {
    let robot = post(answer(
        200,
        r#"{"failover":{"ip":"5.5.5.5","active_server_ip":"1.1.1.1"}}"#,
    ));
    context
        .take_over(&action(&robot, ""))
        .failed("but for 5.5.5.5");
    not_routed(&robot);
}
