//! Announces while a takeover runs on another thread.
//!
//! uWSGI calls a legion action on its legion thread, which neither announces the node nor
//! hears its peers meanwhile. So the takeover gets a thread of its own, and this one beats.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::{confidential, fork, uwsgi};

/// How often a wait is reported.
const REPORT: Duration = Duration::from_secs(10);

/// How long a result may still take when the bound has passed: all of the process may have stood
/// still, and the takeover, too, gets to know the time only now.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The side that stays on the legion thread.
pub trait Beat {
    /// How often to [`beat`](Beat::beat); `None` for never.
    fn interval(&self) -> Option<Duration>;
    /// Announces the node.
    fn beat(&mut self);
    /// Logs a line.
    fn say(&mut self, line: &str);
    /// Logs that the takeover is still running, after this long.
    fn report(&mut self, elapsed: Duration);
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum Lost {
    #[error("no thread could be started for it: {0}")]
    NoThread(#[from] io::Error),
    #[error("it ended in a panic, which is a bug in uwsgi-hetzner (see above)")]
    Panicked,
    #[error(
        "it did not end in time: a file that it reads hangs, or there is a bug in uwsgi-hetzner"
    )]
    Overdue,
}

enum Message<T> {
    Line(String),
    Result(T),
}

/// Lets the takeover's thread log lines: they are written by the legion's thread.
pub struct Say<T>(Sender<Message<T>>);

impl<T> Say<T> {
    pub fn say(&self, line: String) {
        // If nobody listens any more, nobody wants to know.
        let _ = self.0.send(Message::Line(line));
    }
}

/// Runs `work` on a thread of its own, confidentially and with all signals blocked, and beats on this one
/// until it ends, or `bound` has passed.
///
/// # Errors
/// The thread could not be started, panicked, or did not end in time; it is left alone then.
pub fn accompany<T: Send + 'static>(
    beat: &mut dyn Beat,
    bound: Duration,
    work: impl FnOnce(&Say<T>) -> T + Send + 'static,
) -> Result<T, Lost> {
    fork::watch();
    let (sender, receiver) = mpsc::channel();
    let thread = uwsgi::without_signals(|| {
        thread::Builder::new()
            .name("failoverip".into())
            .spawn(move || {
                let say = Say(sender);
                let result = confidential::run(|| work(&say));
                let _ = say.0.send(Message::Result(result));
            })
    })?;
    listen(beat, bound, &receiver, thread)
}

fn listen<T>(
    beat: &mut dyn Beat,
    bound: Duration,
    receiver: &Receiver<Message<T>>,
    thread: JoinHandle<()>,
) -> Result<T, Lost> {
    let start = Instant::now();
    let mut next_beat = beat.interval().map(|_| start);
    let mut next_report = start + REPORT;
    let mut end = start + bound;
    let mut is_last_call = false;
    loop {
        let now = Instant::now();
        if next_beat.is_some_and(|next| next <= now) {
            beat.beat();
            next_beat = beat.interval().map(|interval| now + interval);
        }
        if next_report <= now {
            beat.report(start.elapsed());
            next_report += REPORT;
        }
        if now >= end {
            if is_last_call {
                return Err(Lost::Overdue);
            }
            is_last_call = true;
            end = now + LAST_CALL;
        }
        let wake = next_report.min(end);
        let wake = next_beat.map_or(wake, |beat| beat.min(wake));
        match receiver.recv_timeout(wake.saturating_duration_since(now)) {
            Ok(Message::Line(line)) => beat.say(&line),
            Ok(Message::Result(result)) => {
                // It has nothing left to do but end: no thread is left between takeovers.
                let _ = thread.join();
                return Ok(result);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = thread.join();
                return Err(Lost::Panicked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[derive(Default)]
    struct Counter {
        interval: Option<Duration>,
        beats: usize,
        lines: Vec<String>,
        on_beat: Option<Box<dyn FnMut(usize)>>,
    }

    impl Beat for Counter {
        fn interval(&self) -> Option<Duration> {
            self.interval
        }

        fn beat(&mut self) {
            self.beats += 1;
            if let Some(on_beat) = &mut self.on_beat {
                on_beat(self.beats);
            }
        }

        fn say(&mut self, line: &str) {
            self.lines.push(line.into());
        }

        fn report(&mut self, _: Duration) {}
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn it_beats_until_the_work_ends() {
        let barrier = Arc::new(Barrier::new(2));
        let third_beat = barrier.clone();
        let mut counter = Counter {
            interval: Some(Duration::from_millis(1)),
            on_beat: Some(Box::new(move |beats| {
                if beats == 3 {
                    third_beat.wait();
                }
            })),
            ..Counter::default()
        };
        let result = accompany(&mut counter, LONG, move |_| barrier.wait().is_leader());
        assert!(result.is_ok() && counter.beats >= 3);
    }

    #[test]
    fn it_does_not_beat_without_an_interval() {
        let mut counter = Counter::default();
        assert_eq!(accompany(&mut counter, LONG, |_| 7).unwrap(), 7);
        assert_eq!(counter.beats, 0);
    }

    #[test]
    fn lines_are_said_in_their_order_and_before_the_end() {
        let mut counter = Counter::default();
        accompany(&mut counter, LONG, |say| {
            say.say("one".into());
            say.say("two".into());
        })
        .unwrap();
        assert_eq!(counter.lines, ["one", "two"]);
    }

    #[test]
    fn a_panic_is_a_lost_result() {
        let mut counter = Counter::default();
        let result: Result<(), Lost> = accompany(&mut counter, LONG, |_| panic!("on purpose"));
        assert!(matches!(result, Err(Lost::Panicked)));
    }

    #[test]
    fn what_does_not_end_in_time_is_left_alone() {
        let (hold, held) = mpsc::channel::<()>();
        let mut counter = Counter::default();
        let result = accompany(&mut counter, Duration::from_millis(10), move |_| {
            held.recv()
        });
        assert!(matches!(result, Err(Lost::Overdue)));
        drop(hold);
    }

    #[test]
    fn a_result_that_is_there_counts_however_late_it_is() {
        let result = accompany(&mut Counter::default(), Duration::ZERO, |_| 7);
        assert_eq!(result.unwrap(), 7);
    }

    #[test]
    fn signals_are_blocked_on_the_thread_and_only_there() {
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("SigBlk:"));
            u64::from_str_radix(line.unwrap().split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        let usual = blocked();
        let within = accompany(&mut Counter::default(), LONG, move |_| blocked()).unwrap();
        let chld_usr1_int = 1 << 16 | 1 << 9 | 1 << 1;
        assert_eq!(within & chld_usr1_int, chld_usr1_int);
        assert_eq!(blocked(), usual);
    }
}
