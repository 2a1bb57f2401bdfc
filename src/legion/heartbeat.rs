//! Keeps the node in its legion while a takeover runs on another thread.
//!
//! uWSGI calls a legion action on its legion thread. Until the action returns, that thread neither
//! announces the node nor listens to its peers. So the takeover gets its own thread, `takeover`, and
//! the legion thread announces the node here.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::isolation;

/// How often a wait is reported.
const REPORT: Duration = Duration::from_secs(10);

/// How long to wait for a result after the bound has passed. If the whole process was paused, the
/// takeover notices only now that its time is up.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What happens meanwhile on the thread that called the action.
pub struct Heartbeat<'a> {
    /// How often to beat; `None` for never.
    pub interval: Option<Duration>,
    /// Announces the node.
    pub beat: &'a mut dyn FnMut(),
    /// Logs a line of the takeover with this number.
    pub log: &'a mut dyn FnMut(usize, String),
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum WorkerError {
    #[error("could not start a thread for the takeover: {0}")]
    NoThread(#[from] io::Error),
    #[error("the takeover ended in a panic, which is a bug in uwsgi-hetzner (see above)")]
    Panicked,
    #[error(
        "the takeover did not end in time: reading a file hangs, or this is a bug in uwsgi-hetzner"
    )]
    Overdue,
}

/// Passes a takeover's log lines to the legion thread, which writes them, and tells it when the
/// takeover has ended.
pub struct Lines {
    number: usize,
    sender: Sender<(usize, Message)>,
}

enum Message {
    Line(String),
    End,
}

impl Lines {
    pub fn log(&self, line: String) {
        self.send(Message::Line(line));
    }

    /// The receiver is gone if the takeover was given up; that is ignored.
    fn send(&self, message: Message) {
        let _ = self.sender.send((self.number, message));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.send(Message::End);
    }
}

/// What runs on a thread of its own.
pub type Work<T> = Box<dyn FnOnce(&Lines) -> T + Send>;

/// Runs each of `works` on a thread of its own, and beats on this one until all have ended or `bound`
/// has passed. Every ten seconds it logs for each that it is still waiting, and for how long it will
/// at most: `deadline`. The results are in the order of `works`.
///
/// # Errors
/// A thread could not be started, panicked, or did not end in time; then it is left alone.
pub fn run_with_heartbeat<T: Send + 'static>(
    heartbeat: &mut Heartbeat,
    deadline: Duration,
    bound: Duration,
    works: Vec<Work<T>>,
) -> Vec<Result<T, WorkerError>> {
    let (sender, messages) = mpsc::channel();
    let workers = works.into_iter().enumerate().map(|(number, work)| {
        let sender = sender.clone();
        let lines = Lines { number, sender };
        match isolation::spawn("takeover", move || work(&lines)) {
            Ok(worker) => Worker::Running(worker),
            Err(error) => Worker::Ended(Err(error.into())),
        }
    });
    let workers = workers.collect();
    wait_for(heartbeat, deadline, bound, &messages, workers)
}

enum Worker<T> {
    Running(JoinHandle<T>),
    Ended(Result<T, WorkerError>),
}

impl<T> Worker<T> {
    /// It has nothing left to do but end, so no thread is left afterwards.
    fn end(&mut self) {
        let running = std::mem::replace(self, Worker::Ended(Err(WorkerError::Overdue)));
        *self = Worker::Ended(match running {
            Worker::Running(worker) => worker.join().map_err(|_| WorkerError::Panicked),
            Worker::Ended(result) => result,
        });
    }
}

fn wait_for<T>(
    heartbeat: &mut Heartbeat,
    deadline: Duration,
    bound: Duration,
    messages: &Receiver<(usize, Message)>,
    mut workers: Vec<Worker<T>>,
) -> Vec<Result<T, WorkerError>> {
    let start = Instant::now();
    let mut next_beat = heartbeat.interval.map(|_| start);
    let mut next_report = start + REPORT;
    let mut end = start + bound;
    let mut is_last_call = false;
    let is_running = |worker: &Worker<T>| matches!(worker, Worker::Running(_));
    while workers.iter().any(is_running) {
        let now = Instant::now();
        if next_beat.is_some_and(|next| next <= now) {
            (heartbeat.beat)();
            next_beat = heartbeat.interval.map(|interval| now + interval);
        }
        if next_report <= now {
            let (elapsed, deadline) = (start.elapsed().as_secs(), deadline.as_secs());
            for (number, _) in workers
                .iter()
                .enumerate()
                .filter(|(_, one)| is_running(one))
            {
                (heartbeat.log)(
                    number,
                    format!("still waiting after {elapsed} s (deadline {deadline} s)"),
                );
            }
            next_report += REPORT;
        }
        if now >= end {
            if is_last_call {
                break;
            }
            is_last_call = true;
            end = now + LAST_CALL;
        }
        let wake = next_report.min(end);
        let wake = next_beat.map_or(wake, |beat| beat.min(wake));
        match messages.recv_timeout(wake.saturating_duration_since(now)) {
            Ok((number, Message::Line(line))) => (heartbeat.log)(number, line),
            Ok((number, Message::End)) => workers[number].end(),
            // No sender is left only where no worker is.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    let result = |worker| match worker {
        Worker::Running(_) => Err(WorkerError::Overdue),
        Worker::Ended(result) => result,
    };
    workers.into_iter().map(result).collect()
}

/// Whether the votes that a takeover follows are still valid. The thread `takeover` checks that before
/// each change.
///
/// The legion thread does not read what its peers send while a takeover runs, but it notices whether
/// they send anything. A node that heard no peer for longer than `legion-tolerance` was isolated, and
/// its peers may have elected another Lord. The same is true of a node that did not run for a while.
pub struct Mandate {
    /// When the takeover began. Times are since the machine was started.
    began: Duration,
    tolerance: Duration,
    /// A Lord of this legion needs the votes of others.
    needs_votes: bool,
    /// When a peer was last heard, in milliseconds.
    heard: AtomicU64,
    was_isolated: AtomicBool,
}

impl Mandate {
    pub fn new(now: Duration, tolerance: Duration, needs_votes: bool) -> Mandate {
        Mandate {
            began: now,
            tolerance,
            needs_votes,
            heard: AtomicU64::new(millis(now)),
            was_isolated: AtomicBool::new(false),
        }
    }

    /// For the legion thread, at each beat: `packets` have arrived since the last.
    pub fn note_beat(&self, now: Duration, packets: usize) {
        if self.is_isolated(now) {
            self.was_isolated.store(true, Ordering::Relaxed);
        }
        if packets > 0 {
            self.heard.store(millis(now), Ordering::Relaxed);
        }
    }

    fn is_isolated(&self, now: Duration) -> bool {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.needs_votes && now.saturating_sub(heard) > self.tolerance
    }

    /// Whether the votes are still valid. `standstill`: when the last one ended.
    pub fn is_valid(&self, now: Duration, standstill: Option<Duration>) -> bool {
        let stood_still = standstill.is_some_and(|last| last > self.began);
        !stood_still && !self.was_isolated.load(Ordering::Relaxed) && !self.is_isolated(now)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    const LONG: Duration = Duration::from_secs(600);

    /// Runs `work` and returns its result, the number of beats and the lines.
    fn run<T: Send + 'static>(
        interval: Option<Duration>,
        bound: Duration,
        mut on_beat: impl FnMut(usize),
        work: impl FnOnce(&Lines) -> T + Send + 'static,
    ) -> (Result<T, WorkerError>, usize, Vec<String>) {
        let (mut beats, mut lines) = (0, Vec::new());
        let mut heartbeat = Heartbeat {
            interval,
            beat: &mut || {
                beats += 1;
                on_beat(beats);
            },
            log: &mut |_, line| lines.push(line),
        };
        let mut results = run_with_heartbeat(&mut heartbeat, bound, bound, vec![Box::new(work)]);
        (results.remove(0), beats, lines)
    }

    #[test]
    fn it_beats_until_the_work_ends() {
        let barrier = Arc::new(Barrier::new(2));
        let third_beat = barrier.clone();
        let on_beat = move |beats| {
            if beats == 3 {
                third_beat.wait();
            }
        };
        let (result, beats, _) = run(Some(Duration::from_millis(1)), LONG, on_beat, move |_| {
            barrier.wait().is_leader()
        });
        assert!(result.is_ok() && beats >= 3);
    }

    #[test]
    fn it_does_not_beat_without_an_interval() {
        let (result, beats, _) = run(None, LONG, |_| {}, |_| 7);
        assert_eq!((result.unwrap(), beats), (7, 0));
    }

    #[test]
    fn lines_are_logged_in_their_order_and_before_the_end() {
        let (_, _, lines) = run(
            None,
            LONG,
            |_| {},
            |lines| {
                lines.log("one".into());
                lines.log("two".into());
            },
        );
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn works_run_side_by_side_and_each_has_its_result() {
        let barrier = Arc::new(Barrier::new(3));
        let works = (0..3).map(|number| {
            let barrier = barrier.clone();
            let work: Work<usize> = Box::new(move |lines| {
                barrier.wait();
                lines.log(format!("line {number}"));
                assert!(number != 1, "on purpose");
                number
            });
            work
        });
        let mut logged = Vec::new();
        let mut heartbeat = Heartbeat {
            interval: None,
            beat: &mut || {},
            log: &mut |number, line| logged.push((number, line)),
        };
        let results = run_with_heartbeat(&mut heartbeat, LONG, LONG, works.collect());
        assert!(matches!(
            results[..],
            [Ok(0), Err(WorkerError::Panicked), Ok(2)]
        ));
        // A panic that prints a backtrace takes long enough on a busy machine to be waited for.
        logged.retain(|(_, line)| line.starts_with("line "));
        logged.sort();
        let line = |number| (number, format!("line {number}"));
        assert_eq!(logged, [line(0), line(1), line(2)]);
    }

    #[test]
    fn a_panic_is_an_error() {
        let (result, _, _) = run(None, LONG, |_| {}, |_| panic!("on purpose"));
        let result: Result<(), WorkerError> = result;
        assert!(matches!(result, Err(WorkerError::Panicked)));
    }

    #[test]
    fn work_that_does_not_end_in_time_is_left_alone() {
        let (hold, held) = mpsc::channel::<()>();
        let (result, _, _) = run(
            None,
            Duration::from_millis(10),
            |_| {},
            move |_| held.recv(),
        );
        assert!(matches!(result, Err(WorkerError::Overdue)));
        drop(hold);
    }

    #[test]
    fn a_result_that_comes_within_the_last_call_counts() {
        let (result, _, _) = run(None, Duration::ZERO, |_| {}, |_| 7);
        assert_eq!(result.unwrap(), 7);
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn mandate(needs_votes: bool) -> Mandate {
        Mandate::new(at(100), at(5), needs_votes)
    }

    #[test]
    fn votes_are_valid_while_peers_are_heard() {
        let mandate = mandate(true);
        for second in 101..120 {
            mandate.note_beat(at(second), 2);
        }
        assert!(mandate.is_valid(at(123), None));
        assert!(!mandate.is_valid(at(125), None));
    }

    #[test]
    fn a_node_that_was_isolated_once_has_no_valid_votes() {
        let mandate = mandate(true);
        mandate.note_beat(at(106), 1);
        assert!(!mandate.is_valid(at(106), None));
    }

    #[test]
    fn a_node_that_stood_still_since_it_was_elected_has_no_valid_votes() {
        let mandate = mandate(true);
        mandate.note_beat(at(101), 1);
        assert!(mandate.is_valid(at(102), Some(at(99))));
        assert!(!mandate.is_valid(at(102), Some(at(101))));
    }

    #[test]
    fn a_node_that_needs_no_votes_is_never_isolated() {
        let mandate = mandate(false);
        mandate.note_beat(at(160), 0);
        assert!(mandate.is_valid(at(161), None));
    }
}
