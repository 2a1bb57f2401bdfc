//! The table of the Cloud API's answers, row by row: what is final, what passes, and what is lost.

use std::time::Duration;

use testbed::cloud::{Access, Cloud, Fault, Refusal, Requests, When};

use super::{HERE, Kind, Run, SHORT, cloud, cloud_with, side_by_side};
use crate::Test;
use crate::context::Context;

pub const TESTS: &[Test] = tests![
    cloud_row_final_errors_of_a_change_fail_at_once,
    cloud_row_final_errors_of_a_read_fail_at_once,
    cloud_row_passing_errors_of_a_change_are_tried_again,
    cloud_row_passing_errors_of_a_read_are_tried_again,
    cloud_row_passing_errors_for_ever_end_at_the_deadline,
    cloud_row_429_waits_and_tries_again,
    cloud_row_3xx_fails_at_once_naming_the_host,
    cloud_row_another_4xx_fails_at_once,
    cloud_row_a_refused_token_fails_at_once,
    cloud_row_a_lost_change_that_did_nothing_is_requested_again,
    cloud_row_a_lost_answer_to_a_change_is_looked_after,
    cloud_row_a_lost_answer_to_a_read_is_asked_for_again,
    cloud_row_no_connection_is_tried_again,
    cloud_row_no_connection_at_all_fails,
    cloud_row_a_hanging_api_ends_at_the_deadline
];

pub const FINAL: [Refusal; 12] = [
    Refusal::JsonError,
    Refusal::Unauthorized,
    Refusal::TokenReadonly,
    Refusal::Forbidden,
    Refusal::ResourceLimitExceeded,
    Refusal::NotFound,
    Refusal::MethodNotAllowed,
    Refusal::UniquenessError,
    Refusal::DeprecatedApiEndpoint,
    Refusal::InvalidInput,
    Refusal::UnsupportedError,
    Refusal::Protected,
];

/// What passes, and errors without an object.
pub fn passing() -> Vec<Fault> {
    let codes = [
        Refusal::Maintenance,
        Refusal::Conflict,
        Refusal::ResourceUnavailable,
        Refusal::ServiceError,
        Refusal::Locked,
        Refusal::ServerError,
        Refusal::BadGateway,
        Refusal::Unavailable,
        Refusal::Timeout,
    ];
    let codes = codes.into_iter().map(Fault::from);
    codes.chain([502, 503, 504].map(Fault::page)).collect()
}

/// Takeovers of this kind, one for each fault, which the first such request meets.
fn each(
    context: &Context,
    kind: Kind,
    faults: impl IntoIterator<Item = Fault>,
    requests: &Requests,
) -> Vec<(Run, Fault)> {
    let runs = faults.into_iter().map(|fault| {
        let cloud = cloud();
        cloud.order(When::Once(requests.clone()), fault.clone());
        let run = Run::start(context, kind, cloud, SHORT).named(&fault);
        (run, fault)
    });
    // All of them run at the same time.
    runs.collect()
}

/// What the log says about an error.
fn said(refusal: Refusal) -> String {
    match refusal {
        Refusal::Unauthorized => "the Cloud API refused the token (401 unauthorized".into(),
        Refusal::TokenReadonly => "this token may only read".into(),
        Refusal::InvalidInput => {
            "422 invalid_input (invalid input in field 'server') [server: is".into()
        }
        Refusal::DeprecatedApiEndpoint => "[https://docs.hetzner.cloud/changelog]".into(),
        other => format!(
            "the Cloud API answered {} {} (",
            other.status(),
            other.code()
        ),
    }
}

fn fail_at_once(context: &Context, kind: Kind, requests: &Requests, changes: usize) {
    let is_of_server = |refusal| {
        // An alias IP begins with this server, whose id is wrong then.
        (kind, requests, refusal) == (Kind::Alias, &Requests::READS, Refusal::NotFound)
    };
    let runs = each(context, kind, FINAL.map(Fault::from), requests);
    for ((run, _), refusal) in runs.iter().zip(FINAL) {
        if is_of_server(refusal) {
            run.fails_at_once(changes, "there is no server 43 in the token's project: ");
            continue;
        }
        let line = run.fails_at_once(changes, &said(refusal));
        // Hetzner's support asks for it.
        assert!(line.contains(", X-Correlation-Id c10d00"), "{line}");
    }
}

fn cloud_row_final_errors_of_a_change_fail_at_once(context: &Context) {
    side_by_side(|kind| {
        fail_at_once(context, kind, &kind.changes(), 1);
    });
}

fn cloud_row_final_errors_of_a_read_fail_at_once(context: &Context) {
    side_by_side(|kind| {
        fail_at_once(context, kind, &Requests::READS, 0);
    });
}

/// The 3rd of what goes wrong for others: nothing is waited for, so that the next call is refused.
fn cloud_row_passing_errors_of_a_change_are_tried_again(context: &Context) {
    side_by_side(|kind| {
        for (run, _) in each(context, kind, passing(), &kind.changes()) {
            run.succeeds_with(1 + kind.steps());
        }
    });
}

/// The 8th of what goes wrong for others: an error is no answer, and above all not "elsewhere".
fn cloud_row_passing_errors_of_a_read_are_tried_again(context: &Context) {
    side_by_side(|kind| {
        let runs = passing().into_iter().map(|fault| {
            let cloud = cloud();
            // It is here already, so whoever takes an error for "elsewhere" moves it.
            match kind {
                Kind::Floating => cloud.set_holder(kind.ip(), Some(HERE)),
                Kind::Alias => super::move_alias(&cloud, HERE),
            }
            cloud.order(When::Times(Requests::READS, 2), fault.clone());
            Run::start(context, kind, cloud, SHORT).named(fault)
        });
        let runs: Vec<Run> = runs.collect();
        for run in runs {
            run.succeeds_with(0);
        }
    });
}

fn cloud_row_passing_errors_for_ever_end_at_the_deadline(context: &Context) {
    let runs = Kind::ALL.map(|kind| {
        let cloud = cloud();
        cloud.order(When::Always(kind.changes()), Refusal::Locked);
        Run::start(context, kind, cloud, "timeout=3,deadline=12")
    });
    for run in runs {
        let line = run.fails("423 locked (");
        let holder = match run.kind {
            Kind::Floating => "server 42",
            Kind::Alias => "server node1 (42)",
        };
        // An alias IP is not taken off its server with less time left than its move takes.
        let part = match run.kind {
            Kind::Floating => {
                format!("; it is routed to {holder} (the deadline of 12 s has passed)")
            }
            Kind::Alias => format!(
                "too little of the deadline is left to move it, so it stays where it is; it is routed to \
                 {holder}"
            ),
        };
        assert!(line.contains(&part), "{line}");
        let changes = run.changes();
        assert!((2..=20).contains(&changes), "{}", run.explain());
    }
}

/// One request is regained each second, so it is asked for 2 to 5 s later.
fn cloud_row_429_waits_and_tries_again(context: &Context) {
    side_by_side(|kind| {
        let runs = [kind.changes(), Requests::READS].map(|requests| {
            let cloud = cloud();
            cloud.order(When::Times(requests.clone(), 2), Refusal::RateLimitExceeded);
            let run = Run::start(context, kind, cloud, SHORT);
            (run.named(&requests), requests)
        });
        for (run, requests) in &runs {
            run.succeeds();
            if *requests == kind.changes() {
                let asked = run.cloud.requests();
                let mut changes = asked.iter().filter(|request| request.method == "POST");
                let (first, second) = (changes.next().unwrap(), changes.next().unwrap());
                let gap = second.at - first.at;
                assert!(gap >= Duration::from_secs(2).mul_f64(0.9), "{gap:?}");
            }
        }
        // As if others had used all requests of the project up.
        let cloud = cloud();
        cloud.set_requests_left(1);
        let run = Run::start(context, kind, cloud, SHORT);
        run.succeeds();
        let actions = run.cloud.actions().len();
        assert_eq!(actions, kind.steps(), "{}", run.explain());
    });
}

fn cloud_row_3xx_fails_at_once_naming_the_host(context: &Context) {
    side_by_side(|kind| {
        let faults = [301, 302, 303, 307, 308].map(|status| Fault::Redirect {
            status,
            location: "https://elsewhere.example/v1".into(),
        });
        for requests in [kind.changes(), Requests::READS] {
            for (run, fault) in each(context, kind, faults.clone(), &requests) {
                let Fault::Redirect { status, .. } = fault else {
                    unreachable!()
                };
                let part = ", a redirect to elsewhere.example; redirects are not followed, because \
                            that would send the token to elsewhere.example: check endpoint";
                let line = run.fails_at_once(usize::from(requests == kind.changes()), part);
                let answered = format!("answered {status}, X-Correlation-Id ");
                assert!(line.contains(&answered), "{line}");
            }
        }
    });
}

fn cloud_row_another_4xx_fails_at_once(context: &Context) {
    side_by_side(|kind| {
        let pages = [400, 402, 403, 404, 405, 410, 418, 422].map(Fault::page);
        let coded = [Fault::error(422, "never_heard_of", "a message")];
        for (run, fault) in each(
            context,
            kind,
            pages.into_iter().chain(coded),
            &kind.changes(),
        ) {
            let Fault::Answer { status, .. } = fault else {
                unreachable!()
            };
            run.fails_at_once(1, &format!("the Cloud API answered {status}"));
        }
    });
}

fn cloud_row_a_refused_token_fails_at_once(context: &Context) {
    side_by_side(|kind| {
        let wrong = cloud();
        wrong.set_token("another");
        let read_only = cloud_with(|settings| settings.access = Access::Read);
        let page = cloud();
        page.order(When::Once(Requests::READS), Fault::page(401));
        let run = Run::start(context, kind, wrong, "");
        let line = run.fails_at_once(
            0,
            "the Cloud API refused the token (401 unauthorized (the token you have provided is \
             invalid)",
        );
        assert!(
            line.contains(": check token or token_file (after "),
            "{line}"
        );
        assert_eq!(run.cloud.requests().len(), 1, "{}", run.explain());
        Run::start(context, kind, read_only, "").fails_at_once(
            1,
            "this token may only read; create one with the permission read & write in the same \
             project",
        );
        Run::start(context, kind, page, "")
            .fails_at_once(0, "the Cloud API refused the token (401");
    });
}

/// Answers that do not come, or not whole, or that nobody can read.
pub fn lost() -> Vec<Fault> {
    let every = Duration::from_millis(100);
    let answer = |body: &str| Fault::Answer {
        status: 201,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: body.into(),
    };
    vec![
        Fault::Hang,
        Fault::Reset,
        Fault::Close,
        Fault::Garbage,
        Fault::DripHeaders { every },
        Fault::Oversize { bytes: 3 << 20 },
        Fault::OversizeAnnounced { bytes: 1 << 40 },
        Fault::Endless,
        answer("{}"),
        answer("[]"),
        answer("<html>"),
        answer(r#"{"action":{"id":"x"}}"#),
    ]
}

/// The answers that a served request gets.
pub fn mangled() -> Vec<Fault> {
    let every = Duration::from_millis(100);
    vec![Fault::Truncate, Fault::Drip { every }, Fault::HeaderFlood]
}

/// The 5th of what goes wrong for others: no retry, and no time limit.
fn cloud_row_a_lost_change_that_did_nothing_is_requested_again(context: &Context) {
    let runs = Kind::ALL.map(|kind| each(context, kind, lost(), &kind.changes()));
    for (run, _) in runs.into_iter().flatten() {
        run.succeeds_with(1 + run.kind.steps());
    }
}

fn cloud_row_a_lost_answer_to_a_change_is_looked_after(context: &Context) {
    let runs = Kind::ALL.map(|kind| {
        let applied = lost().into_iter();
        let applied = applied.map(|fault| Fault::ApplyThen(Box::new(fault)));
        each(context, kind, applied.chain(mangled()), &kind.changes())
    });
    for (run, _) in runs.into_iter().flatten() {
        run.succeeds_with(run.kind.steps());
    }
}

fn cloud_row_a_lost_answer_to_a_read_is_asked_for_again(context: &Context) {
    side_by_side(|kind| {
        let runs = [Requests::READS, Requests::ACTION].map(|requests| {
            let faults = lost().into_iter().chain(mangled());
            each(context, kind, faults, &requests)
        });
        for (run, _) in runs.into_iter().flatten() {
            run.succeeds_with(kind.steps());
        }
    });
}

fn no_connection(context: &Context, kind: Kind, keys: &str) -> Run {
    let cloud = cloud();
    cloud.refuse_connections();
    let run = Run::start(context, kind, cloud, keys);
    crate::context::wait(
        &run.node,
        "no connection to localhost",
        testbed::uwsgi::PATIENCE,
    );
    run
}

fn cloud_row_no_connection_is_tried_again(context: &Context) {
    side_by_side(|kind| {
        let run = no_connection(context, kind, "");
        run.cloud.accept_connections().unwrap();
        run.succeeds_with(kind.steps());
        let handshakes = [Fault::CutHandshake, Fault::HangHandshake];
        for (run, _) in each(context, kind, handshakes, &Requests::ALL) {
            run.succeeds_with(kind.steps());
        }
    });
}

/// Another node may have a connection.
fn cloud_row_no_connection_at_all_fails(context: &Context) {
    for run in Kind::ALL.map(|kind| no_connection(context, kind, "")) {
        run.fails("(no connection for 1");
        assert_eq!(run.cloud.requests().len(), 0);
    }
}

fn cloud_row_a_hanging_api_ends_at_the_deadline(context: &Context) {
    let hanging = |kind, requests| {
        let cloud: Cloud = cloud();
        cloud.order(When::Always(requests), Fault::Hang);
        Run::start(context, kind, cloud, "timeout=1,deadline=6")
    };
    side_by_side(|kind| {
        let runs = [
            hanging(kind, Requests::ALL),
            hanging(kind, kind.changes()),
            hanging(kind, Requests::ACTION),
        ];
        runs[0].fails("(the deadline of 6 s has passed)");
        runs[1].fails("(the deadline of 6 s has passed)");
        // It was moved, and nobody said so; the plugin may find out by reading, or not.
        let (_, line) = runs[2].end();
        assert!(line.contains(" (after "), "{line}");
    });
}
