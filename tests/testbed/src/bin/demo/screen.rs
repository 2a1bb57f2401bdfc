//! The output: plain text of 80 columns, coloured on a terminal.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Where lines end.
const WIDTH: usize = 80;
/// How many of the last lines of a log are shown.
const LOG_END: usize = 30;
/// Where an event's text begins, after its time and subject.
const INDENT: usize = 16;
/// The beginning of a quotation.
const QUOTE: &str = "          | ";

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy)]
pub enum Look {
    Bold,
    Faint,
    Good,
    Bad,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Look::Bold => "1",
            Look::Faint => "2",
            Look::Good => "1;32",
            Look::Bad => "1;31",
        }
    }
}

pub struct Screen {
    start: Instant,
    colour: bool,
    closed: AtomicBool,
}

impl Screen {
    /// Starts its clock.
    pub fn new() -> Screen {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen {
            start: Instant::now(),
            colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
            closed: AtomicBool::new(false),
        }
    }

    /// Ends all output.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Seconds since the start: `  4.2 s`.
    pub fn time(&self, at: Instant) -> String {
        let seconds = at.saturating_duration_since(self.start).as_secs_f64();
        format!("{seconds:5.1} s")
    }

    /// The text with this look, if the screen has colours.
    pub fn paint(&self, look: Look, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{}m{text}\x1b[0m", look.code()),
            false => text.into(),
        }
    }

    pub fn line(&self, line: &str) {
        if !self.closed.load(Ordering::SeqCst) {
            // If the output is closed, the demo goes on, because its exit status counts.
            let _ = writeln!(io::stdout(), "{line}");
        }
    }

    pub fn title(&self, text: &str) {
        self.line("");
        self.line(&self.paint(Look::Bold, text));
        self.line("");
    }

    pub fn paragraph(&self, text: &str) {
        wrap(text, WIDTH).iter().for_each(|line| self.line(line));
    }

    /// An event and its subject.
    pub fn event(&self, at: Instant, who: &str, text: &str) {
        self.coloured_event(at, who, text, None);
    }

    pub fn good_event(&self, at: Instant, who: &str, text: &str) {
        self.coloured_event(at, who, text, Some(Look::Good));
    }

    pub fn bad_event(&self, at: Instant, who: &str, text: &str) {
        self.coloured_event(at, who, text, Some(Look::Bad));
    }

    fn coloured_event(&self, at: Instant, who: &str, text: &str, look: Option<Look>) {
        for (n, text) in wrap(text, WIDTH - INDENT).iter().enumerate() {
            let text = look.map_or(text.clone(), |look| self.paint(look, text));
            match n {
                0 => {
                    let time = self.paint(Look::Faint, &self.time(at));
                    let who = self.paint(Look::Bold, &format!("{who:<5}"));
                    self.line(&format!(" {time}  {who} {text}"));
                }
                _ => self.line(&format!("{:INDENT$}{text}", "")),
            }
        }
    }

    /// A line of a log, verbatim.
    pub fn quote(&self, line: &str) {
        for part in wrap(line, WIDTH - QUOTE.len()) {
            self.line(&self.paint(Look::Faint, &format!("{QUOTE}{part}")));
        }
    }

    pub fn failure(&self, what: &str) {
        self.line("");
        self.line(&self.paint(Look::Bad, &format!("FAILED: {what}")));
    }

    /// The last lines of a server's log, verbatim.
    pub fn log_end(&self, server: &str, log: &[String]) {
        self.line(&format!("\nThe end of {server}'s log:\n"));
        let skipped = log.len().saturating_sub(LOG_END);
        for line in &log[skipped..] {
            self.line(&format!("  {line}"));
        }
    }
}

/// Breaks a text between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("one extraordinary word", 7),
            ["one", "extraordinary", "word"]
        );
        assert_eq!(wrap("", 7), [""]);
    }
}
