//! Tests of how the nodes of a legion share an outage of the webservice: the real procedure and the
//! real standing, over a fake clock. The election is reduced to its result.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::standing::{Candidacy, FailedHook, Observed, Rules};
use crate::provider::robot::{LIMITS, TEMPO};
use crate::takeover::{
    Bounds, Budget, Change, Clock, Look, Outcome, Problem, Provider, Surroundings, Tempo, take_over,
};

const HOUR: Duration = Duration::from_secs(3600);
/// An election after a failure.
const ELECTION: Duration = Duration::from_secs(3);

/// What does not work meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Everything,
    Posts,
}

#[derive(Default)]
struct Requests {
    posts: Vec<Duration>,
    looks: Vec<Duration>,
}

struct Webservice {
    time: Rc<Cell<Duration>>,
    requests: Rc<RefCell<Requests>>,
    broken: Broken,
    until: Duration,
    sent: u32,
}

impl Webservice {
    fn is_broken(&self) -> bool {
        self.time.get() < self.until
    }
}

impl Provider for Webservice {
    fn change(&mut self, _: Duration, _: &dyn Fn() -> bool) -> Change {
        self.sent += 1;
        self.requests.borrow_mut().posts.push(self.time.get());
        match self.is_broken() {
            true => Change::Failing(Problem::new("503")),
            false => Change::Done,
        }
    }

    fn look(&mut self, _: Duration) -> Look {
        self.sent += 1;
        self.requests.borrow_mut().looks.push(self.time.get());
        match self.is_broken() && self.broken == Broken::Everything {
            true => Look::Unanswered(Problem::new("503")),
            false => Look::Elsewhere {
                to: None,
                settled: true,
            },
        }
    }

    fn requests(&self) -> u32 {
        self.sent
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
        self.time.get()
    }

    fn sleep(&mut self, span: Duration) {
        self.time.set(self.time.get() + span);
    }
}

struct Node {
    candidacy: Candidacy,
    budget: Mutex<Budget>,
    failed_last: bool,
}

/// Lets this many nodes go through an outage. Returns what was sent, and when one of them succeeded.
fn go_through(nodes: usize, broken: Broken, outage: Duration) -> (Requests, Duration) {
    let time = Rc::new(Cell::new(Duration::from_secs(1000)));
    let until = time.get() + outage;
    let requests = Rc::new(RefCell::new(Requests::default()));
    let mut legion: Vec<Node> = (0..nodes as u64)
        .map(|node| Node {
            candidacy: Candidacy::new(Rules {
                configured: 9999 - node,
                suspension: Duration::from_secs(300),
                no_preempt: false,
                tolerance: Duration::from_secs(5),
            }),
            budget: Mutex::new(Budget::new(LIMITS)),
            failed_last: false,
        })
        .collect();
    let start = Instant::now();
    loop {
        assert!(time.get() < until + HOUR, "nobody succeeds");
        let valors: Vec<u64> = legion.iter().map(|node| node.candidacy.valor()).collect();
        for (index, node) in legion.iter_mut().enumerate() {
            let mut others = valors
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            node.candidacy.decide(Observed {
                now: time.get(),
                is_lord: false,
                has_rival: others.any(|(_, valor)| *valor > 0),
                is_sick: false,
            });
        }
        let best = legion
            .iter()
            .enumerate()
            .max_by_key(|(_, node)| node.candidacy.valor());
        let Some((best, _)) = best.filter(|(_, node)| node.candidacy.valor() > 0) else {
            time.set(time.get() + Duration::from_secs(1));
            continue;
        };
        time.set(time.get() + ELECTION);
        let node = &mut legion[best];
        let mut webservice = Webservice {
            time: time.clone(),
            requests: requests.clone(),
            broken,
            until,
            sent: 0,
        };
        let mut clock = FakeClock {
            start,
            time: time.clone(),
        };
        let share = LIMITS.changes / nodes;
        let bounds = Bounds {
            start: clock.now(),
            timeout: Duration::from_secs(60),
            deadline: Duration::from_secs(300),
            look_first: node.failed_last,
            cautious: node.failed_last,
            changes_an_hour: if node.failed_last {
                share
            } else {
                LIMITS.changes
            },
            reserved_changes: 0,
            sharing: 1,
        };
        let around = Surroundings {
            clock: &mut clock,
            budget: &node.budget,
            is_elected: &|| true,
            log: &mut |_| {},
        };
        let report = take_over(bounds, &mut webservice, around);
        if let Outcome::Routed = report.outcome {
            return (requests.take(), time.get() - until);
        }
        node.failed_last = true;
        node.candidacy
            .note_failure(time.get(), false, FailedHook::Ours(1));
    }
}

fn most_within_an_hour(sent: &[Duration]) -> usize {
    let within = |start: &Duration| {
        sent.iter()
            .filter(|sent| (*start..*start + HOUR).contains(*sent))
            .count()
    };
    sent.iter().map(within).max().unwrap_or(0)
}

#[test]
fn after_an_hour_of_maintenance_somebody_takes_over_within_a_minute() {
    for nodes in [1, 2, 3, 5] {
        for minutes in [10, 59, 60, 61, 67] {
            let outage = Duration::from_secs(60 * minutes);
            let (requests, late) = go_through(nodes, Broken::Everything, outage);
            let case = format!("{nodes} nodes, {minutes} minutes");
            assert!(most_within_an_hour(&requests.posts) <= 50, "{case}");
            let looks = most_within_an_hour(&requests.looks);
            assert!(looks <= 100, "{case}: {looks} looks");
            assert!(late <= Duration::from_secs(60), "{case}: {late:?}");
        }
    }
}

#[test]
fn after_a_minute_of_maintenance_somebody_takes_over_within_20_s() {
    for nodes in [1, 2, 3] {
        for seconds in 40..80 {
            let outage = Duration::from_secs(seconds);
            let (_, late) = go_through(nodes, Broken::Everything, outage);
            assert!(
                late <= Duration::from_secs(20),
                "{nodes}, {seconds} s: {late:?}"
            );
        }
    }
}

#[test]
fn while_only_posts_fail_they_are_not_spent() {
    for nodes in [1, 2, 3, 5] {
        let outage = Duration::from_secs(2 * 3600);
        let (requests, _) = go_through(nodes, Broken::Posts, outage);
        let posts = most_within_an_hour(&requests.posts);
        assert!(posts <= 50, "{nodes} nodes: {posts}");
        // Somebody tries again and again.
        let mut all = [requests.posts, requests.looks].concat();
        all.sort();
        let longest = all.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(
            longest <= Some(Duration::from_secs(120)),
            "{nodes} nodes: {longest:?}"
        );
    }
}
