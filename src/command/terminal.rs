//! What is asked and shown while a route is changed by hand.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::sys::process;

/// The width of a terminal that does not tell.
const USUAL_COLUMNS: usize = 80;
/// What uWSGI's own waits are reported by, which the progress shows anyway.
const REPORT: &str = "still waiting after ";

/// Whether somebody can be asked.
pub fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks a question that is to be answered with yes or no. Anything but yes is no.
pub fn ask(question: &str) -> bool {
    let mut output = io::stdout().lock();
    // Nobody could read the question otherwise; then there is no answer either.
    let _ = write!(output, "{question} [y/N] ").and_then(|()| output.flush());
    drop(output);
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    ["y", "yes"]
        .iter()
        .any(|yes| answer.eq_ignore_ascii_case(yes))
}

/// What a change is waiting for: one line that is redrawn on a terminal, and lines elsewhere.
pub struct Progress {
    title: String,
    began: Instant,
    deadline: Duration,
    state: String,
    columns: Option<usize>,
}

impl Progress {
    pub fn new(title: String, deadline: Duration) -> Progress {
        let columns = io::stdout().is_terminal().then(|| {
            let columns = process::terminal_columns();
            columns.unwrap_or(USUAL_COLUMNS)
        });
        Progress {
            title,
            began: Instant::now(),
            deadline,
            state: "waiting for the answer, which takes up to 110 s".into(),
            columns,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What it waits for.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// A line about it.
    pub fn note(&mut self, line: &str) {
        let is_report = line.starts_with(REPORT);
        if !is_report || self.columns.is_none() {
            self.clear();
            super::print(&format!("{}: {line}", self.title));
        }
        if !is_report {
            // What it does now comes last.
            self.state = line.rsplit("; ").next().unwrap_or(line).into();
        }
        self.draw();
    }

    /// Draws the line again.
    pub fn draw(&self) {
        if let Some(columns) = self.columns {
            put(&format!("\r\x1b[2K{}", self.line(self.elapsed(), columns)));
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.columns.is_some() {
            put("\r\x1b[2K");
        }
    }

    /// It must not reach the last column, or it could not be redrawn.
    fn line(&self, elapsed: Duration, columns: usize) -> String {
        let line = format!(
            "{}: {} of {} s, {}",
            self.title,
            elapsed.as_secs(),
            self.deadline.as_secs(),
            self.state
        );
        match line.chars().count() < columns {
            true => line,
            false => {
                let kept = columns.saturating_sub(4);
                line.chars().take(kept).chain("...".chars()).collect()
            }
        }
    }
}

fn put(text: &str) {
    let mut output = io::stdout().lock();
    // Nobody is left to be told if that fails.
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in [
            ("y\n", true),
            (" YES \n", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yellow\n", false),
        ] {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn the_line_says_how_long_and_for_what_and_fits() {
        let mut progress = Progress {
            title: "4.4.4.4 -> 1.1.1.1".into(),
            began: Instant::now(),
            deadline: Duration::from_secs(300),
            state: String::new(),
            columns: None,
        };
        progress.note("the webservice answered 409; a switch is running, waiting for it to finish");
        let line = |columns| progress.line(Duration::from_secs(12), columns);
        let whole =
            "4.4.4.4 -> 1.1.1.1: 12 of 300 s, a switch is running, waiting for it to finish";
        assert_eq!(line(100), whole);
        assert_eq!(line(79).chars().count(), 78);
        assert!(line(40).ends_with("..."));
        assert_eq!(line(40).chars().count(), 39);
    }
}
