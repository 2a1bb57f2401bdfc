//! The table of a takeover's answers, row by row, over a scripted API and a fake clock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::*;
use crate::robot::Problem;

/// What the scripted API is asked, and how it answers.
enum Step {
    Post(Switch),
    Get(Route),
}
use Step::{Get, Post};

struct Script {
    steps: VecDeque<(Step, Duration)>,
    /// What answers when the script has ended.
    then: Option<fn() -> (Switch, Route)>,
    time: Rc<Cell<Duration>>,
    /// `P` and `G` with the second they were asked at.
    asked: Vec<String>,
    requests: u32,
}

impl Script {
    fn spend(&mut self, kind: char, within: Duration, takes: Duration) {
        let at = self.time.get();
        self.asked.push(format!("{kind}{:.0}", at.as_secs_f64()));
        assert!(within > Duration::ZERO, "a request without time");
        self.time.set(at + takes.min(within));
    }
}

impl Robot for Script {
    fn switch(&mut self, within: Duration) -> Switch {
        let (answer, takes) = match (self.steps.pop_front(), self.then) {
            (Some((Post(answer), takes)), _) => (answer, takes),
            (Some((Get(answer), _)), _) => panic!("posted; the script wants a GET: {answer:?}"),
            (None, Some(then)) => (then().0, Duration::ZERO),
            (None, None) => panic!("posted; the script has ended: {:?}", self.asked),
        };
        self.spend('P', within, takes);
        self.requests += u32::from(!matches!(answer, Switch::NotConnected(_)));
        answer
    }

    fn route(&mut self, within: Duration) -> Route {
        let (answer, takes) = match (self.steps.pop_front(), self.then) {
            (Some((Get(answer), takes)), _) => (answer, takes),
            (Some((Post(answer), _)), _) => panic!("asked; the script wants a POST: {answer:?}"),
            (None, Some(then)) => (then().1, Duration::ZERO),
            (None, None) => panic!("asked; the script has ended: {:?}", self.asked),
        };
        self.spend('G', within, takes);
        self.requests += 1;
        answer
    }

    fn requests(&self) -> u32 {
        self.requests
    }
}

struct FakeClock {
    start: Instant,
    time: Rc<Cell<Duration>>,
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        self.start + self.time.get()
    }

    fn sleep(&mut self, span: Duration) {
        self.time.set(self.time.get() + span);
    }
}

struct Ended {
    outcome: Outcome,
    requests: u32,
    /// When which request was sent: `P0 G0 P2`.
    asked: String,
    lines: Vec<String>,
    elapsed: Duration,
}

fn run_with(
    bounds: (u64, u64),
    steps: Vec<(Step, Duration)>,
    then: Option<fn() -> (Switch, Route)>,
) -> Ended {
    run_after(Duration::ZERO, bounds, steps, then)
}

/// Runs the steps when so much of the deadline has been spent already.
fn run_after(
    spent: Duration,
    bounds: (u64, u64),
    steps: Vec<(Step, Duration)>,
    then: Option<fn() -> (Switch, Route)>,
) -> Ended {
    let time = Rc::new(Cell::new(Duration::ZERO));
    let mut script = Script {
        steps: steps.into(),
        then,
        time: time.clone(),
        asked: Vec::new(),
        requests: 0,
    };
    let mut clock = FakeClock {
        start: Instant::now(),
        time,
    };
    let bounds = Bounds {
        start: clock.now() - spent,
        timeout: Duration::from_secs(bounds.0),
        deadline: Duration::from_secs(bounds.1),
    };
    let mut lines = Vec::new();
    let report = take_over(bounds, &mut script, &mut clock, &mut |line| {
        lines.push(line);
    });
    assert!(
        report.elapsed <= bounds.deadline,
        "the deadline was passed: {:?}",
        report.elapsed
    );
    assert!(
        script.steps.is_empty(),
        "not asked to the end: {:?}",
        script.asked
    );
    Ended {
        outcome: report.outcome,
        requests: report.requests,
        asked: script.asked.join(" "),
        lines,
        elapsed: report.elapsed,
    }
}

/// Runs the steps, each answered at once, with the default bounds.
fn run(steps: Vec<Step>) -> Ended {
    let steps = steps.into_iter().map(|step| (step, Duration::ZERO));
    run_with((60, 120), steps.collect(), None)
}

/// Runs the steps, and then the same answer for ever.
fn run_then(steps: Vec<Step>, then: fn() -> (Switch, Route)) -> Ended {
    let steps = steps.into_iter().map(|step| (step, Duration::ZERO));
    run_with((60, 120), steps.collect(), Some(then))
}

fn status(status: u16) -> Problem {
    Problem::Status {
        status,
        said: Default::default(),
    }
}

fn unconnected() -> Problem {
    Problem::NoConnection {
        host: "robot".into(),
        reason: "refused".into(),
    }
}

fn lost() -> Problem {
    Problem::NoWholeAnswer {
        host: "robot".into(),
        reason: "reset".into(),
    }
}

fn other() -> Option<IpAddr> {
    Some("2.2.2.2".parse().unwrap())
}

impl Ended {
    #[track_caller]
    fn is_routed(&self, asked: &str) {
        assert!(
            matches!(self.outcome, Outcome::Routed),
            "{:?}",
            self.outcome
        );
        assert_eq!(self.asked, asked);
        assert_eq!(self.requests as usize, asked.split(' ').count());
    }

    #[track_caller]
    fn is_unconfirmed(&self, asked: &str) {
        assert!(
            matches!(self.outcome, Outcome::Unconfirmed(_)),
            "{:?}",
            self.outcome
        );
        assert_eq!(self.asked, asked);
    }

    #[track_caller]
    fn failed(&self, part: &str, asked: &str) {
        let Outcome::Failed(failure) = &self.outcome else {
            panic!("{:?}", self.outcome);
        };
        assert!(failure.to_string().contains(part), "{failure}");
        assert_eq!(self.asked, asked);
    }
}

// The rows of the table.

#[test]
fn ours_is_done() {
    run(vec![Post(Switch::Routed)]).is_routed("P0");
}

#[test]
fn another_address_is_confirmed_and_posted_again() {
    run(vec![
        Post(Switch::Elsewhere(other(), status(200))),
        Get(Route::Elsewhere(other())),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 P2");
}

#[test]
fn another_address_in_the_answer_is_never_an_unconfirmed_success() {
    run_then(vec![Post(Switch::Elsewhere(other(), status(200)))], || {
        (
            Switch::Elsewhere(other(), status(200)),
            Route::Unusable(status(404)),
        )
    })
    .failed("5 requests", "P0 G0 P2 G2 P32 G32 P61 G61 P90 G90");
}

#[test]
fn no_readable_object_is_confirmed() {
    run(vec![Post(Switch::Accepted(status(200))), Get(Route::Ours)]).is_routed("P0 G0");
}

#[test]
fn locked_is_waited_out_and_posted_again_if_elsewhere() {
    run(vec![
        Post(Switch::Locked(status(409))),
        Get(Route::Processing),
        Get(Route::Processing),
        Get(Route::Processing),
        Get(Route::Elsewhere(other())),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 G2 G5 G10 P10");
}

#[test]
fn locked_is_done_when_it_ends_with_us() {
    run(vec![
        Post(Switch::Locked(status(409))),
        Get(Route::Processing),
        Get(Route::Ours),
    ])
    .is_routed("P0 G0 G2");
}

#[test]
fn locked_without_a_status_is_posted_again_until_it_ends() {
    run(vec![
        Post(Switch::Locked(status(409))),
        Get(Route::Elsewhere(other())),
        Post(Switch::Locked(status(409))),
        Get(Route::Elsewhere(other())),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 P2 G2 P32");
}

#[test]
fn another_conflict_is_confirmed() {
    run(vec![Post(Switch::Conflict(status(409))), Get(Route::Ours)]).is_routed("P0 G0");
    run(vec![
        Post(Switch::Conflict(status(409))),
        Get(Route::Unusable(status(404))),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 P2");
}

#[test]
fn a_refusal_fails_at_once() {
    run(vec![Post(Switch::Refused(Problem::Login))]).failed("refused the login", "P0");
}

#[test]
fn the_rate_limit_is_confirmed_once() {
    run(vec![
        Post(Switch::RateLimited(status(403))),
        Get(Route::Ours),
    ])
    .is_routed("P0 G0");
    for route in [
        Route::Elsewhere(other()),
        Route::Unanswered(lost()),
        Route::Unusable(status(403)),
    ] {
        run(vec![Post(Switch::RateLimited(status(429))), Get(route)]).failed("429", "P0 G0");
    }
}

#[test]
fn a_5xx_is_confirmed_and_posted_again() {
    run(vec![
        Post(Switch::Failing(status(503))),
        Get(Route::Unanswered(status(503))),
        Post(Switch::Failing(status(503))),
        Get(Route::Elsewhere(other())),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 P2 G2 P32");
    run(vec![Post(Switch::Failing(status(500))), Get(Route::Ours)]).is_routed("P0 G0");
}

#[test]
fn no_connection_is_tried_again_at_least_every_5_s_and_is_no_post() {
    let ended = run_then(vec![], || {
        (
            Switch::NotConnected(unconnected()),
            Route::Unanswered(unconnected()),
        )
    });
    let Outcome::Failed(Failure::OutOfTime { .. }) = ended.outcome else {
        panic!("{:?}", ended.outcome);
    };
    let at: Vec<f64> = ended
        .asked
        .split(' ')
        .map(|asked| asked[1..].parse().unwrap())
        .collect();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] <= 5.0), "{at:?}");
    assert!(
        at.len() > MAX_POSTS as usize && *at.last().unwrap() > 118.0,
        "{at:?}"
    );
    assert_eq!(ended.requests, 0);
    assert_eq!(ended.lines.len(), at.len() - 1);
}

#[test]
fn what_was_spent_before_the_first_post_counts() {
    let never: fn() -> (Switch, Route) = || {
        (
            Switch::NotConnected(unconnected()),
            Route::Unanswered(unconnected()),
        )
    };
    let spent = Duration::from_secs(118);
    let ended = run_after(spent, (60, 120), vec![], Some(never));
    assert_eq!(ended.asked, "P0 P1 P2");
    assert!(matches!(
        ended.outcome,
        Outcome::Failed(Failure::OutOfTime { .. })
    ));
}

#[test]
fn an_attempt_to_connect_that_took_long_is_followed_by_another_at_once() {
    let slow = (
        Post(Switch::NotConnected(unconnected())),
        Duration::from_secs(5),
    );
    let done = (Post(Switch::Routed), Duration::ZERO);
    let ended = run_with((60, 120), vec![slow, done], None);
    assert_eq!(ended.asked, "P0 P5");
}

#[test]
fn a_lost_answer_is_confirmed() {
    run(vec![Post(Switch::Unanswered(lost())), Get(Route::Ours)]).is_routed("P0 G0");
    run(vec![
        Post(Switch::Unanswered(lost())),
        Get(Route::Unanswered(lost())),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 P2");
}

// Confirm, and what surrounds the table.

#[test]
fn a_confirm_that_is_refused_fails_at_once() {
    run(vec![
        Post(Switch::Unanswered(lost())),
        Get(Route::Refused(Problem::Login)),
    ])
    .failed("refused the login", "P0 G0");
    run(vec![
        Post(Switch::Accepted(status(200))),
        Get(Route::Refused(Problem::Login)),
    ])
    .failed("refused the login", "P0 G0");
}

#[test]
fn questions_are_asked_2_s_later_growing_to_5_s() {
    let ended = run_then(vec![Post(Switch::Locked(status(409)))], || {
        (Switch::Routed, Route::Processing)
    });
    ended.failed("a switch of it is running", &ended.asked);
    assert!(
        ended.asked.starts_with("P0 G0 G2 G5 G10 G14 G20 G24"),
        "{}",
        ended.asked
    );
    assert!(ended.elapsed >= Duration::from_secs(119));
}

#[test]
fn a_long_deadline_does_not_ask_more_than_the_webservice_allows() {
    let steps = vec![(Post(Switch::Locked(status(409))), Duration::ZERO)];
    let ended = run_with(
        (60, 3600),
        steps,
        Some(|| (Switch::Routed, Route::Processing)),
    );
    assert!(ended.requests <= 95, "{}", ended.requests);
}

#[test]
fn accepted_and_no_get_is_done_unconfirmed() {
    run(vec![
        Post(Switch::Accepted(status(200))),
        Get(Route::Unusable(status(404))),
    ])
    .is_unconfirmed("P0 G0");
}

#[test]
fn accepted_and_no_answer_until_the_deadline_is_done_unconfirmed_without_another_post() {
    let ended = run_then(vec![Post(Switch::Accepted(status(200)))], || {
        (Switch::Refused(status(400)), Route::Unanswered(lost()))
    });
    assert!(matches!(ended.outcome, Outcome::Unconfirmed(_)));
    assert_eq!(ended.asked.matches('P').count(), 1);
    assert!(ended.elapsed >= Duration::from_secs(119));
}

#[test]
fn accepted_but_elsewhere_is_posted_again() {
    run(vec![
        Post(Switch::Accepted(status(200))),
        Get(Route::Unanswered(lost())),
        Get(Route::Elsewhere(None)),
        Post(Switch::Routed),
    ])
    .is_routed("P0 G0 G2 P4");
}

#[test]
fn accepted_and_still_switching_at_the_deadline_fails() {
    let ended = run_then(vec![Post(Switch::Accepted(status(200)))], || {
        (Switch::Refused(status(400)), Route::Processing)
    });
    ended.failed(
        "a switch of it is running (the deadline of 120 s",
        &ended.asked,
    );
}

#[test]
fn five_posts_are_sent_at_most_and_cover_the_deadline() {
    let ended = run_then(vec![], || {
        (Switch::Failing(status(503)), Route::Elsewhere(other()))
    });
    ended.failed(
        "503; it is routed to 2.2.2.2 (5 requests",
        "P0 G0 P2 G2 P32 G32 P61 G61 P90 G90",
    );
    assert_eq!(ended.lines.len(), 4, "{:?}", ended.lines);
}

#[test]
fn with_no_post_left_an_answer_is_still_waited_for() {
    let mut steps = Vec::new();
    for _ in 0..5 {
        steps.push(Post(Switch::Unanswered(lost())));
        steps.push(Get(Route::Unanswered(lost())));
    }
    steps.push(Get(Route::Ours));
    run(steps).is_routed("P0 G0 P2 G2 P32 G32 P61 G61 P90 G90 G92");
}

#[test]
fn a_hanging_post_and_question_leave_time_for_a_second_post() {
    let long = Duration::from_secs(1000);
    let ended = run_with(
        (60, 120),
        vec![
            (Post(Switch::Unanswered(lost())), long),
            (Get(Route::Unanswered(lost())), long),
            (Post(Switch::Routed), Duration::ZERO),
        ],
        None,
    );
    ended.is_routed("P0 G60 P77");
}

#[test]
fn a_post_that_hangs_to_the_deadline_leaves_time_for_a_question() {
    let long = Duration::from_secs(1000);
    let ended = run_with(
        (60, 60),
        vec![
            (Post(Switch::Unanswered(lost())), long),
            (Get(Route::Ours), Duration::ZERO),
        ],
        None,
    );
    ended.is_routed("P0 G55");
}

#[test]
fn the_deadline_ends_everything_with_the_last_reason() {
    for (timeout, deadline) in [(1, 1), (1, 2), (3, 7), (60, 60), (3600, 7200)] {
        let ended = run_with(
            (timeout, deadline),
            Vec::new(),
            Some(|| (Switch::Unanswered(lost()), Route::Unanswered(lost()))),
        );
        let Outcome::Failed(failure) = ended.outcome else {
            panic!("{:?}", ended.outcome);
        };
        assert!(
            failure
                .to_string()
                .contains("no whole answer from robot: reset")
        );
    }
}

#[test]
fn each_retry_is_said_with_its_reason() {
    let ended = run(vec![
        Post(Switch::NotConnected(unconnected())),
        Post(Switch::Failing(status(503))),
        Get(Route::Elsewhere(other())),
        Post(Switch::Routed),
    ]);
    assert_eq!(
        ended.lines,
        [
            "no connection to robot: refused; trying again in 1.0 s",
            "the webservice answered 503; it is routed to 2.2.2.2; \
             request 2 of 5 to route it follows in 2.0 s",
        ]
    );
}
