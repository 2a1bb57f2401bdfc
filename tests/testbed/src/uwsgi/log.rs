//! A node's log, as it is written.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Lines {
    lines: Vec<(Instant, String)>,
    ended: bool,
}

/// The lines that a node has written so far, each with its time.
#[derive(Clone)]
pub struct Log(Arc<(Mutex<Lines>, Condvar)>);

impl Log {
    /// Follows a reader until its end.
    pub fn follow(reader: impl Read + Send + 'static) -> Log {
        let log = Log(Arc::default());
        let followed = log.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                followed.push(String::from_utf8_lossy(&line).trim_end().to_string());
                line.clear();
            }
            let (lines, changed) = &*followed.0;
            lines.lock().unwrap().ended = true;
            changed.notify_all();
        });
        log
    }

    fn push(&self, line: String) {
        let (lines, changed) = &*self.0;
        lines.lock().unwrap().lines.push((Instant::now(), line));
        changed.notify_all();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.0.lock().unwrap();
        lines.lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// All lines so far, each with its time.
    pub fn timed_lines(&self) -> Vec<(Instant, String)> {
        self.0.0.lock().unwrap().lines.clone()
    }

    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// How many lines contain `part`.
    pub fn count(&self, part: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    pub fn contains(&self, part: &str) -> bool {
        self.count(part) > 0
    }

    /// Waits for a line that contains `part`, and returns it.
    pub fn wait_for(&self, part: &str, patience: Duration) -> Option<String> {
        self.wait_for_nth(part, 1, patience)
    }

    /// Waits for the `nth` line (from 1) that contains `part`, and returns it; `None` if the log
    /// ended, or `patience` did.
    pub fn wait_for_nth(&self, part: &str, nth: usize, patience: Duration) -> Option<String> {
        self.wait_until(patience, |lines| {
            let mut found = lines.iter().filter(|(_, line)| line.contains(part));
            found.nth(nth - 1).map(|(_, line)| line.clone())
        })
    }

    /// Waits for a line that contains any of these, and returns the first.
    pub fn wait_for_any(&self, parts: &[&str], patience: Duration) -> Option<String> {
        self.wait_until(patience, |lines| {
            let found = lines
                .iter()
                .find(|(_, line)| parts.iter().any(|part| line.contains(part)));
            found.map(|(_, line)| line.clone())
        })
    }

    /// Waits until the lines so far give a result; `None` if the log ended, or `patience` did.
    pub fn wait_until<T>(
        &self,
        patience: Duration,
        result: impl Fn(&[(Instant, String)]) -> Option<T>,
    ) -> Option<T> {
        let give_up = Instant::now() + patience;
        let (lines, changed) = &*self.0;
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(result) = result(&lines.lines) {
                return Some(result);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.ended {
                return None;
            }
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until all processes that had the log open have closed it.
    pub fn wait_for_end(&self, patience: Duration) -> bool {
        let (lines, changed) = &*self.0;
        let lines = lines.lock().unwrap();
        let (lines, _) = changed
            .wait_timeout_while(lines, patience, |lines| !lines.ended)
            .unwrap();
        lines.ended
    }
}
