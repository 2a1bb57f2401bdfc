//! The procedure, step by step, over a scripted provider and a fake clock.

mod switches;

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::*;

/// A webservice whose changes take minutes, and whose requests are few.
pub const TEMPO: Tempo = Tempo {
    changes: 5,
    requests: 1,
    looks_first: false,
    first_wait: Duration::from_secs(2),
    growth: 5,
    longest_wait: Duration::from_secs(5),
    later_wait: Duration::from_secs(10),
    longest_probe_wait: Duration::from_secs(15),
    later_probe_wait: Duration::from_secs(45),
    cautious_probe_wait: Duration::from_secs(54),
    soon: Duration::from_secs(2),
    change_gaps: [Duration::from_secs(45), Duration::from_secs(60)],
    later_change_gap: Duration::from_secs(75),
};

const LIMITS: Limits = Limits {
    changes: 48,
    looks: 90,
    quick_looks: 60,
};

/// A request that the scripted provider expects, and its answer.
enum Step {
    Post(Change),
    Get(Look),
}
use Step::{Get, Post};

/// Returns the answers after the end of the script.
type Rest = fn() -> (Change, Look);

struct Script {
    steps: VecDeque<(Step, Duration)>,
    then: Option<Rest>,
    time: Rc<Cell<Duration>>,
    /// Each request: `P` or `G`, and the second it was sent at.
    asked: Vec<String>,
    requests: u32,
    /// The last look was [`Look::HalfDone`].
    is_half_done: bool,
}

impl Script {
    fn spend(&mut self, kind: char, within: Duration, takes: Duration) {
        let at = self.time.get();
        self.asked.push(format!("{kind}{:.0}", at.as_secs_f64()));
        assert!(within > Duration::ZERO, "a request without time");
        self.time.set(at + takes.min(within));
    }
}

impl Provider for Script {
    fn change(&mut self, within: Duration, _: &dyn Fn() -> bool) -> Change {
        let (answer, takes) = match (self.steps.pop_front(), self.then) {
            (Some((Post(answer), takes)), _) => (answer, takes),
            (Some((Get(answer), _)), _) => panic!("posted; the script wants a GET: {answer:?}"),
            (None, Some(then)) => (then().0, Duration::ZERO),
            (None, None) => panic!("posted; the script has ended: {:?}", self.asked),
        };
        self.spend('P', within, takes);
        self.requests += u32::from(!matches!(answer, Change::NotConnected(_)));
        answer
    }

    fn look(&mut self, within: Duration) -> Look {
        let (answer, takes) = match (self.steps.pop_front(), self.then) {
            (Some((Get(answer), takes)), _) => (answer, takes),
            (Some((Post(answer), _)), _) => panic!(
                "asked; the script wants a POST: {answer:?}, {:?}",
                self.asked
            ),
            (None, Some(then)) => (then().1, Duration::ZERO),
            (None, None) => panic!("asked; the script has ended: {:?}", self.asked),
        };
        self.spend('G', within, takes);
        self.requests += 1;
        self.is_half_done = matches!(answer, Look::HalfDone);
        answer
    }

    fn is_half_done(&self) -> bool {
        self.is_half_done
    }

    fn requests(&self) -> u32 {
        self.requests
    }

    fn tempo(&self) -> &'static Tempo {
        &TEMPO
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

    fn uptime(&self) -> Duration {
        Duration::from_secs(100_000) + self.time.get()
    }

    fn sleep(&mut self, span: Duration) {
        self.time.set(self.time.get() + span);
    }
}

/// How a takeover runs in a test.
struct Setting {
    timeout: u64,
    deadline: u64,
    /// How many seconds of the deadline have passed before the first request.
    spent: u64,
    look_first: bool,
    cautious: bool,
    changes_an_hour: usize,
    reserved_changes: usize,
    sharing: u32,
    /// How many changes the election is valid for.
    elected_for: usize,
}

const USUAL: Setting = Setting {
    timeout: 60,
    deadline: 300,
    spent: 0,
    look_first: false,
    cautious: false,
    changes_an_hour: 48,
    reserved_changes: 0,
    sharing: 1,
    elected_for: 100,
};

struct Ended {
    outcome: Outcome,
    requests: u32,
    /// All requests and the seconds they were sent at: `P0 G0 P2`.
    asked: String,
    lines: Vec<String>,
    elapsed: Duration,
}

fn run_with(setting: Setting, steps: Vec<(Step, Duration)>, then: Option<Rest>) -> Ended {
    let budget = Mutex::new(Budget::new(LIMITS));
    run_on(&budget, setting, steps, then)
}

fn run_on(
    budget: &Mutex<Budget>,
    setting: Setting,
    steps: Vec<(Step, Duration)>,
    then: Option<Rest>,
) -> Ended {
    let time = Rc::new(Cell::new(Duration::ZERO));
    let mut script = Script {
        steps: steps.into(),
        then,
        time: time.clone(),
        asked: Vec::new(),
        requests: 0,
        is_half_done: false,
    };
    let mut clock = FakeClock {
        start: Instant::now() + Duration::from_secs(10_000),
        time,
    };
    let bounds = Bounds {
        start: clock.now() - Duration::from_secs(setting.spent),
        timeout: Duration::from_secs(setting.timeout),
        deadline: Duration::from_secs(setting.deadline),
        look_first: setting.look_first,
        cautious: setting.cautious,
        changes_an_hour: setting.changes_an_hour,
        reserved_changes: setting.reserved_changes,
        sharing: setting.sharing,
    };
    let asked_whether_elected = Cell::new(0);
    let mut lines = Vec::new();
    let around = Surroundings {
        clock: &mut clock,
        budget,
        is_elected: &|| {
            asked_whether_elected.set(asked_whether_elected.get() + 1);
            asked_whether_elected.get() <= setting.elected_for
        },
        log: &mut |line| lines.push(line),
    };
    let report = take_over(bounds, &mut script, around);
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

fn at_once(steps: Vec<Step>) -> Vec<(Step, Duration)> {
    let steps = steps.into_iter().map(|step| (step, Duration::ZERO));
    steps.collect()
}

/// Runs the steps, each answered at once, with the default bounds.
fn run(steps: Vec<Step>) -> Ended {
    run_with(USUAL, at_once(steps), None)
}

/// Runs the steps, and then gives the same answers forever.
fn run_then(steps: Vec<Step>, then: Rest) -> Ended {
    run_with(USUAL, at_once(steps), Some(then))
}

fn problem(text: &str) -> Problem {
    Problem::new(text)
}

fn status(status: u16) -> Problem {
    Problem::new(format!("the webservice answered {status}"))
}

fn unconnected() -> Problem {
    problem("no connection to robot: refused")
}

fn lost() -> Problem {
    problem("incomplete response from robot: reset")
}

/// Elsewhere, and no switch is running.
fn elsewhere() -> Look {
    Look::Elsewhere {
        to: Some("2.2.2.2".into()),
        settled: true,
    }
}

/// Elsewhere, and a switch may be running.
fn perhaps() -> Look {
    Look::Elsewhere {
        to: Some("2.2.2.2".into()),
        settled: false,
    }
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
    fn failed(&self, part: &str, is_for_good: bool, asked: &str) {
        let Outcome::Failed(failure) = &self.outcome else {
            panic!("{:?}", self.outcome);
        };
        assert!(failure.to_string().contains(part), "{failure}");
        assert_eq!(failure.is_for_good(), is_for_good, "{failure}");
        assert_eq!(self.asked, asked);
    }

    fn posts(&self) -> usize {
        self.asked.matches('P').count()
    }
}

#[test]
fn takeovers_side_by_side_look_less_often() {
    let several = Setting {
        sharing: 4,
        ..USUAL
    };
    let steps = vec![
        Post(Change::Running(status(200))),
        Get(Look::Changing),
        Get(Look::Changing),
        Get(Look::Ours),
    ];
    run_with(several, at_once(steps), None).is_routed("P0 G0 G8 G20");
}

#[test]
fn a_first_look_that_is_not_free_soon_is_left_out_where_several_share_the_looks() {
    let setting = |sharing| Setting {
        look_first: true,
        sharing,
        ..USUAL
    };
    let used_up = || {
        let mut budget = Budget::new(LIMITS);
        budget.note_looks(Duration::from_secs(99_900), 90);
        Mutex::new(budget)
    };
    let steps = at_once(vec![Post(Change::Done)]);
    run_on(&used_up(), setting(2), steps, None).is_routed("P0");
    let ended = run_on(&used_up(), setting(1), Vec::new(), None);
    ended.failed("its limit of GET requests per hour", false, "");
}

// The rows of the table.

#[test]
fn ours_is_done() {
    run(vec![Post(Change::Done)]).is_routed("P0");
}

#[test]
fn a_running_switch_is_waited_for() {
    run(vec![
        Post(Change::Running(status(200))),
        Get(Look::Changing),
        Get(Look::Changing),
        Get(Look::Changing),
        Get(Look::Ours),
    ])
    .is_routed("P0 G0 G2 G5 G10");
}

#[test]
fn a_switch_that_ended_elsewhere_is_followed_by_another_soon() {
    run(vec![
        Post(Change::Running(status(409))),
        Get(Look::Changing),
        Get(Look::Changing),
        Get(elsewhere()),
        Post(Change::Done),
    ])
    .is_routed("P0 G0 G2 G5 P7");
}

#[test]
fn without_a_status_only_a_post_45_s_later_can_tell_that_a_switch_is_over() {
    let ended = run_then(vec![Post(Change::Running(status(409)))], || {
        (Change::Running(status(409)), perhaps())
    });
    let posts: Vec<&str> = ended
        .asked
        .split(' ')
        .filter(|at| at.starts_with('P'))
        .collect();
    assert_eq!(posts, ["P0", "P45", "P105", "P180", "P255"]);
    assert!(
        ended.asked.starts_with("P0 G0 G2 G5 G10 G14 G20"),
        "{}",
        ended.asked
    );
    ended.failed("409; it is routed to 2.2.2.2", false, &ended.asked);
}

#[test]
fn a_running_switch_is_not_disturbed_by_posts() {
    let ended = run_then(vec![Post(Change::Running(status(409)))], || {
        (Change::Refused(status(400)), Look::Changing)
    });
    ended.failed("a switch is running (the deadline", false, &ended.asked);
    assert_eq!(ended.posts(), 1);
}

#[test]
fn a_failing_switch_is_confirmed_and_posted_again() {
    run(vec![
        Post(Change::Failing(status(503))),
        Get(Look::Unanswered(status(503))),
        Post(Change::Failing(status(503))),
        Get(elsewhere()),
        Post(Change::Done),
    ])
    .is_routed("P0 G0 P2 G2 P76");
    run(vec![Post(Change::Failing(status(500))), Get(Look::Ours)]).is_routed("P0 G0");
    run(vec![
        Post(Change::Failing(status(409))),
        Get(Look::Unsupported(status(404))),
        Post(Change::Done),
    ])
    .is_routed("P0 G0 P2");
    run(vec![
        Post(Change::Failing(status(504))),
        Get(Look::Changing),
        Get(Look::Changing),
        Get(Look::Ours),
    ])
    .is_routed("P0 G0 G0 G2");
}

#[test]
fn after_a_maintenance_the_next_post_follows_soon() {
    run(vec![
        Post(Change::Failing(status(503))),
        Get(Look::Unanswered(status(503))),
        Post(Change::Failing(status(503))),
        Get(Look::Unanswered(status(503))),
        Get(Look::Unanswered(status(503))),
        Get(Look::Unanswered(status(503))),
        Get(elsewhere()),
        Post(Change::Done),
    ])
    .is_routed("P0 G0 P2 G2 G5 G10 G16 P18");
}

#[test]
fn a_refusal_fails_at_once_and_for_good() {
    run(vec![Post(Change::Refused(problem("login")))]).failed("login", true, "P0");
    for change in [
        Change::Running(lost()),
        Change::Accepted(status(200)),
        Change::Failing(status(503)),
        Change::Limited(status(403)),
    ] {
        run(vec![Post(change), Get(Look::Refused(problem("login")))])
            .failed("login", true, "P0 G0");
    }
}

#[test]
fn a_limit_is_confirmed_once() {
    run(vec![Post(Change::Limited(status(403))), Get(Look::Ours)]).is_routed("P0 G0");
    for look in [
        elsewhere(),
        perhaps(),
        Look::Changing,
        Look::Unanswered(lost()),
        Look::NotConnected(unconnected()),
        Look::Unsupported(status(403)),
    ] {
        run(vec![Post(Change::Limited(status(429))), Get(look)]).failed("429", false, "P0 G0");
    }
}

#[test]
fn no_connection_is_tried_again_for_15_s_and_is_no_post() {
    let ended = run_then(vec![], || {
        (
            Change::NotConnected(unconnected()),
            Look::NotConnected(unconnected()),
        )
    });
    ended.failed("no connection for 15 s)", false, "P0 P1 P3 P7 P12 P15");
    assert_eq!(ended.requests, 0);
    assert_eq!(ended.lines.len(), 5);
}

#[test]
fn no_connection_counts_from_the_last_one() {
    // The webservice was reached, and accepts no connection afterwards.
    let ended = run_then(vec![Post(Change::Failing(status(503)))], || {
        (
            Change::NotConnected(unconnected()),
            Look::NotConnected(unconnected()),
        )
    });
    let Outcome::Failed(Failure::NoConnection { .. }) = ended.outcome else {
        panic!("{:?}", ended.outcome);
    };
    assert!(
        ended.elapsed < Duration::from_secs(30),
        "{:?}",
        ended.elapsed
    );
    // A running switch is waited for anyway.
    let ended = run_then(vec![Post(Change::Running(lost()))], || {
        (
            Change::NotConnected(unconnected()),
            Look::NotConnected(unconnected()),
        )
    });
    assert!(
        ended.elapsed >= Duration::from_secs(45),
        "{:?}",
        ended.elapsed
    );
}

#[test]
fn time_spent_before_the_first_post_counts() {
    let setting = Setting {
        spent: 298,
        ..USUAL
    };
    let ended = run_with(
        setting,
        vec![],
        Some(|| {
            (
                Change::NotConnected(unconnected()),
                Look::NotConnected(unconnected()),
            )
        }),
    );
    assert_eq!(ended.asked, "P0 P1");
    assert!(matches!(
        ended.outcome,
        Outcome::Failed(Failure::OutOfTime { .. })
    ));
}

#[test]
fn a_slow_attempt_to_connect_is_followed_by_another_at_once() {
    let slow = (
        Post(Change::NotConnected(unconnected())),
        Duration::from_secs(5),
    );
    let done = (Post(Change::Done), Duration::ZERO);
    assert_eq!(run_with(USUAL, vec![slow, done], None).asked, "P0 P5");
}

#[test]
fn a_lost_answer_is_waited_for() {
    run(vec![Post(Change::Running(lost())), Get(Look::Ours)]).is_routed("P0 G0");
    run(vec![
        Post(Change::Running(lost())),
        Get(Look::Unanswered(lost())),
        Get(perhaps()),
        Get(Look::Ours),
    ])
    .is_routed("P0 G0 G2 G5");
    // The switch did not happen.
    run(vec![
        Post(Change::Running(lost())),
        Get(elsewhere()),
        Post(Change::Done),
    ])
    .is_routed("P0 G0 P2");
}

// Success without confirmation, from an endpoint that does not support GET.

#[test]
fn accepted_and_no_get_is_done_unconfirmed() {
    run(vec![
        Post(Change::Accepted(status(200))),
        Get(Look::Unsupported(status(404))),
    ])
    .is_unconfirmed("P0 G0");
}

#[test]
fn accepted_and_no_answer_until_the_deadline_fails_without_another_post() {
    let ended = run_then(vec![Post(Change::Accepted(status(200)))], || {
        (Change::Refused(status(400)), Look::Unanswered(lost()))
    });
    let Outcome::Failed(failure) = &ended.outcome else {
        panic!("{:?}", ended.outcome);
    };
    let said = failure.to_string();
    assert!(said.starts_with("accepted but not confirmed: "), "{said}");
    assert_eq!(ended.posts(), 1);
    assert!(ended.elapsed >= Duration::from_secs(290));
}

/// The looks of an hour must not be used up before: the switch may end at any time.
#[test]
fn a_switch_is_looked_after_until_the_deadline() {
    let ended = run_then(vec![], || (Change::Running(lost()), perhaps()));
    let times: Vec<u64> = ended
        .asked
        .split(' ')
        .map(|request| request[1..].parse().unwrap())
        .collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] <= 10),
        "{}",
        ended.asked
    );
    assert!(*times.last().unwrap() > 290, "{}", ended.asked);
}

#[test]
fn without_a_reason_what_was_seen_is_one() {
    let setting = Setting {
        look_first: true,
        ..USUAL
    };
    let then: Rest = || (Change::Done, Look::Changing);
    let Outcome::Failed(failure) = run_with(setting, vec![], Some(then)).outcome else {
        panic!("it cannot succeed");
    };
    let said = failure.to_string();
    assert_eq!(
        said,
        "a switch is running (the deadline of 300 s has passed)"
    );
}

#[test]
fn evidence_that_it_is_elsewhere_wins_over_an_accepted_post() {
    run(vec![
        Post(Change::Accepted(status(200))),
        Get(Look::Unanswered(lost())),
        Get(elsewhere()),
        Post(Change::Done),
    ])
    .is_routed("P0 G0 G2 P4");
    let ended = run_then(vec![Post(Change::Accepted(status(200)))], || {
        (Change::Refused(status(400)), Look::Changing)
    });
    ended.failed(
        "a switch is running (the deadline of 300 s",
        false,
        &ended.asked,
    );
    let steps = vec![Post(Change::Accepted(status(200))), Get(perhaps())];
    let ended = run_then(steps, || {
        (Change::Running(status(409)), Look::Unanswered(lost()))
    });
    assert!(matches!(ended.outcome, Outcome::Failed(_)));
}

// Looking first.

#[test]
fn a_node_that_routed_it_here_before_looks_first() {
    let again = || Setting {
        look_first: true,
        ..USUAL
    };
    run_with(again(), at_once(vec![Get(Look::Ours)]), None).is_routed("G0");
    let steps = vec![Get(elsewhere()), Post(Change::Done)];
    run_with(again(), at_once(steps), None).is_routed("G0 P0");
    let steps = vec![Get(perhaps()), Post(Change::Done)];
    run_with(again(), at_once(steps), None).is_routed("G0 P0");
    let steps = vec![Get(Look::Unsupported(status(404))), Post(Change::Done)];
    run_with(again(), at_once(steps), None).is_routed("G0 P0");
    let steps = vec![Get(Look::Unanswered(lost())), Post(Change::Done)];
    run_with(again(), at_once(steps), None).is_routed("G0 P0");
    let steps = vec![Get(Look::Changing), Get(Look::Changing), Get(Look::Ours)];
    run_with(again(), at_once(steps), None).is_routed("G0 G0 G2");
    let steps = vec![Get(Look::Refused(problem("login")))];
    run_with(again(), at_once(steps), None).failed("login", true, "G0");
}

#[test]
fn after_a_failed_takeover_nothing_is_posted_until_a_look_is_answered() {
    let cautious = || Setting {
        look_first: true,
        cautious: true,
        ..USUAL
    };
    let ended = run_with(
        cautious(),
        vec![],
        Some(|| (Change::Done, Look::Unanswered(status(503)))),
    );
    ended.failed("503", false, "G0 G54 G108 G162 G216 G270");
    let steps = vec![
        Get(Look::NotConnected(unconnected())),
        Get(Look::NotConnected(unconnected())),
        Get(elsewhere()),
        Post(Change::Done),
    ];
    let ended = run_with(cautious(), at_once(steps), None);
    assert_eq!(ended.asked, "G0 G1 G3 P3");
    let steps = vec![
        Get(Look::Unanswered(status(503))),
        Get(elsewhere()),
        Post(Change::Done),
    ];
    run_with(cautious(), at_once(steps), None).is_routed("G0 G54 P56");
}

// The limits.

#[test]
fn five_posts_are_sent_at_most_and_cover_the_deadline() {
    let ended = run_then(vec![], || (Change::Failing(status(503)), elsewhere()));
    assert!(
        ended
            .asked
            .starts_with("P0 G0 P2 G2 P76 G76 P151 G151 P226 G226 G270"),
        "{}",
        ended.asked
    );
    ended.failed(
        "503; it is routed to 2.2.2.2 (the deadline",
        false,
        &ended.asked,
    );
    assert_eq!(ended.posts(), 5);
    assert!(
        ended.elapsed > Duration::from_secs(299),
        "{:?}",
        ended.elapsed
    );
}

#[test]
fn with_no_post_left_the_looks_go_on() {
    let mut steps = Vec::new();
    for _ in 0..5 {
        steps.push(Post(Change::Failing(status(503))));
        steps.push(Get(elsewhere()));
    }
    steps.push(Get(Look::Ours));
    let ended = run(steps);
    assert!(matches!(ended.outcome, Outcome::Routed));
    assert_eq!(ended.asked.split(' ').next_back(), Some("G270"));
}

#[test]
fn no_more_is_sent_than_the_account_allows_in_an_hour() {
    let budget = Mutex::new(Budget::new(LIMITS));
    let (mut posts, mut gets) = (0, 0);
    // Twelve takeovers of 300 s each, all at the same hour as the budget sees it.
    for _ in 0..12 {
        let ended = run_on(
            &budget,
            USUAL,
            vec![],
            Some(|| (Change::Failing(status(503)), elsewhere())),
        );
        posts += ended.asked.matches('P').count();
        gets += ended.asked.matches('G').count();
    }
    assert!((40..=48).contains(&posts), "{posts}");
    assert!(gets <= 90, "{gets}");
}

#[test]
fn a_share_of_the_posts_is_kept_to() {
    let setting = Setting {
        changes_an_hour: 2,
        ..USUAL
    };
    let then: Rest = || (Change::Failing(status(503)), elsewhere());
    let ended = run_with(setting, vec![], Some(then));
    assert_eq!(ended.posts(), 2, "{}", ended.asked);
}

#[test]
fn a_used_up_limit_is_named() {
    let setting = Setting {
        changes_an_hour: 0,
        ..USUAL
    };
    let ended = run_with(setting, vec![], Some(|| (Change::Done, elsewhere())));
    ended.failed(
        "has reached its limit of POST requests",
        false,
        &ended.asked,
    );
}

#[test]
fn nothing_is_posted_on_an_old_election() {
    let setting = Setting {
        elected_for: 0,
        ..USUAL
    };
    let ended = run_with(setting, vec![], None);
    assert!(matches!(ended.outcome, Outcome::Outdated));
    assert_eq!(ended.asked, "");
    let setting = Setting {
        elected_for: 1,
        ..USUAL
    };
    let steps = vec![Post(Change::NotConnected(unconnected()))];
    let ended = run_with(setting, at_once(steps), None);
    assert!(matches!(ended.outcome, Outcome::Outdated));
    assert_eq!(ended.asked, "P0");
}

#[test]
fn hanging_requests_leave_time_for_others() {
    let long = Duration::from_secs(1000);
    let setting = Setting {
        deadline: 120,
        ..USUAL
    };
    run_with(
        setting,
        vec![
            (Post(Change::Running(lost())), long),
            (Get(Look::Unanswered(lost())), long),
            (Post(Change::Done), Duration::ZERO),
        ],
        None,
    )
    .is_routed("P0 G60 P75");
    let setting = Setting {
        deadline: 60,
        ..USUAL
    };
    run_with(
        setting,
        vec![
            (Post(Change::Running(lost())), long),
            (Get(Look::Ours), Duration::ZERO),
        ],
        None,
    )
    .is_routed("P0 G55");
}

#[test]
fn the_deadline_ends_everything_with_the_last_reason() {
    for (timeout, deadline) in [(1, 1), (1, 2), (3, 7), (60, 60), (3600, 7200)] {
        let setting = Setting {
            timeout,
            deadline,
            ..USUAL
        };
        let ended = run_with(
            setting,
            Vec::new(),
            Some(|| (Change::Running(lost()), Look::Unanswered(lost()))),
        );
        ended.failed("incomplete response from robot: reset", false, &ended.asked);
    }
}

#[test]
fn each_retry_is_logged_with_its_reason() {
    let ended = run(vec![
        Post(Change::NotConnected(unconnected())),
        Post(Change::Failing(status(503))),
        Get(elsewhere()),
        Post(Change::Running(status(409))),
        Get(perhaps()),
        Get(Look::Ours),
    ]);
    assert_eq!(
        ended.lines,
        [
            "no connection to robot: refused; trying again in 1.0 s",
            "the webservice answered 503; it is routed to 2.2.2.2; \
             sending request 2 of 5 to route it in 2.0 s",
            "the webservice answered 409; a switch may be running, waiting for it to finish",
        ]
    );
}

#[test]
fn votes_that_become_old_half_way_are_the_providers_to_judge() {
    let steps = |last| {
        at_once(vec![
            Post(Change::Running(status(201))),
            Get(Look::HalfDone),
            Post(last),
        ])
    };
    let setting = || Setting {
        elected_for: 1,
        ..USUAL
    };
    let ended = run_with(setting(), steps(Change::Outdated), None);
    assert!(matches!(ended.outcome, Outcome::Outdated));
    assert_eq!(ended.asked, "P0 G0 P0");
    // At its end, it is looked whether another node has the address by now.
    let mut goes_on = steps(Change::Running(status(201)));
    goes_on.extend(at_once(vec![Get(Look::Ours), Get(Look::Ours)]));
    run_with(setting(), goes_on, None).is_routed("P0 G0 P0 G0 G0");
}

#[test]
fn what_was_seen_running_is_not_requested_again_while_looks_get_no_answer() {
    let steps = vec![Post(Change::Running(status(200))), Get(Look::Changing)];
    let ended = run_then(steps, || {
        (Change::Running(status(409)), Look::Unanswered(lost()))
    });
    assert_eq!(ended.posts(), 1);
}
