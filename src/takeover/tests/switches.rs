//! Switches as in the real webservice: slow, locked while they run, and with or without `status`.

use super::*;

/// How the first `POST` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// When the switch is done.
    InTime,
    /// Not at all: the connection is lost after 60 s.
    Lost,
    /// At once, still naming the old server.
    Early,
}

/// A webservice that switches one failover IP.
struct Webservice {
    time: Rc<Cell<Duration>>,
    takes: Duration,
    shows_status: bool,
    answered: Answered,
    /// When the requested switch ends.
    ends: Option<Duration>,
    posts: u32,
    requests: u32,
}

const LOSS: Duration = Duration::from_secs(60);

impl Webservice {
    fn is_done(&self) -> bool {
        self.ends.is_some_and(|end| end <= self.time.get())
    }

    fn pass(&self, span: Duration) {
        self.time.set(self.time.get() + span);
    }
}

impl Provider for Webservice {
    fn change(&mut self, within: Duration, _: &dyn Fn() -> bool) -> Change {
        self.posts += 1;
        self.requests += 1;
        if self.is_done() {
            return Change::Done; // FAILOVER_ALREADY_ROUTED
        }
        if self.ends.is_some() {
            return Change::Running(problem("FAILOVER_LOCKED"));
        }
        self.ends = Some(self.time.get() + self.takes);
        let (takes, answer) = match self.answered {
            Answered::InTime => (self.takes, Change::Done),
            Answered::Lost => (LOSS, Change::Running(lost())),
            Answered::Early => return Change::Running(problem("200")),
        };
        if takes > within {
            self.pass(within);
            return Change::Running(lost());
        }
        self.pass(takes);
        answer
    }

    fn look(&mut self, _: Duration) -> Look {
        self.requests += 1;
        match (self.is_done(), self.shows_status) {
            (true, _) => Look::Ours,
            (false, false) => perhaps(),
            (false, true) if self.ends.is_some() => Look::Changing,
            (false, true) => elsewhere(),
        }
    }

    fn requests(&self) -> u32 {
        self.requests
    }

    fn tempo(&self) -> &'static Tempo {
        &TEMPO
    }
}

#[test]
fn slow_switches_succeed_with_the_defaults_and_at_most_three_posts() {
    for seconds in [50, 90, 110, 150] {
        for shows_status in [true, false] {
            for answered in [Answered::InTime, Answered::Lost, Answered::Early] {
                let time = Rc::new(Cell::new(Duration::ZERO));
                let mut webservice = Webservice {
                    time: time.clone(),
                    takes: Duration::from_secs(seconds),
                    shows_status,
                    answered,
                    ends: None,
                    posts: 0,
                    requests: 0,
                };
                let mut clock = FakeClock {
                    start: Instant::now(),
                    time: time.clone(),
                };
                let bounds = Bounds {
                    start: clock.now(),
                    timeout: Duration::from_secs(60),
                    deadline: Duration::from_secs(300),
                    look_first: false,
                    cautious: false,
                    changes_an_hour: 48,
                    reserved_changes: 0,
                    sharing: 1,
                };
                let around = Surroundings {
                    clock: &mut clock,
                    budget: &Mutex::new(Budget::new(LIMITS)),
                    is_elected: &|| true,
                    log: &mut |_| {},
                };
                let report = take_over(bounds, &mut webservice, around);
                let case = format!("{seconds} s, status {shows_status}, {answered:?}: {report:?}");
                assert!(matches!(report.outcome, Outcome::Routed), "{case}");
                assert!(webservice.posts <= 3, "{} posts: {case}", webservice.posts);
                assert!(webservice.requests <= 45, "{case}");
                // Its end is noticed soon.
                let late = report.elapsed - webservice.takes.min(report.elapsed);
                assert!(late <= Duration::from_secs(10), "{late:?} late: {case}");
            }
        }
    }
}
