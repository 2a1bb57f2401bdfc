//! A report for people: readable at 80 columns, with colours on a terminal only.

use super::report::{Fact, Level, Place, Tally};

/// A line is at most this long, unless a word is longer.
const COLUMNS: usize = 80;
/// Where texts begin: after two blanks, the longest level, and two blanks.
const INDENT: usize = 11;

/// Makes the lines of a report, fact by fact.
#[derive(Default)]
pub struct Report {
    is_coloured: bool,
    place: Option<Place>,
}

impl Report {
    pub fn new(is_coloured: bool) -> Report {
        Report {
            is_coloured,
            place: None,
        }
    }

    /// The lines for this fact, after those of the facts before it.
    pub fn add(&mut self, fact: &Fact) -> Vec<String> {
        let mut lines = Vec::new();
        if self.place.as_ref() != Some(&fact.place) {
            lines.extend(self.place.as_ref().map(|_| String::new()));
            lines.push(match fact.place.title() {
                title if title.is_empty() => "configuration".into(),
                title => title,
            });
            self.place = Some(fact.place.clone());
        }
        let text = format!("{}: {}", fact.fact.name(), fact.text);
        let level = self.level(fact.level);
        for (index, line) in wrap(&text, COLUMNS - INDENT).into_iter().enumerate() {
            lines.push(match index {
                0 => format!("  {level}  {line}"),
                _ => format!("{:INDENT$}{line}", ""),
            });
        }
        lines
    }

    /// The last lines.
    pub fn end(&self, tally: &Tally) -> Vec<String> {
        vec![String::new(), tally.summary()]
    }

    fn level(&self, level: Level) -> String {
        let (word, colour) = match level {
            Level::Ok => ("ok     ", "32"),
            Level::Warning => ("warning", "33"),
            Level::Error => ("ERROR  ", "31"),
        };
        match self.is_coloured {
            true => format!("\x1b[{colour}m{word}\x1b[0m"),
            false => word.into(),
        }
    }
}

/// Breaks a text at blanks into lines of at most this many characters.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::report::Topic;

    fn fact(level: Level, text: &str) -> Fact {
        Fact {
            place: Place::legion("failover"),
            fact: Topic::Quorum,
            level,
            text: text.into(),
        }
    }

    #[test]
    fn facts_of_one_place_share_a_title_and_long_ones_are_wrapped() {
        let mut report = Report::new(false);
        let first = report.add(&fact(Level::Ok, "2 of 3 nodes elect a Lord"));
        let expected = [
            "legion \"failover\"",
            "  ok       quorum: 2 of 3 nodes elect a Lord",
        ];
        assert_eq!(first, expected);
        let long = "word ".repeat(20) + "end";
        let second = report.add(&fact(Level::Error, &long));
        assert!(second[0].starts_with("  ERROR    quorum: word"));
        assert!(second[1].starts_with("           word"));
        assert!(second.iter().all(|line| line.len() <= COLUMNS));
        let elsewhere = Fact {
            place: Place::legion("other"),
            ..fact(Level::Warning, "x")
        };
        assert_eq!(
            report.add(&elsewhere),
            ["", "legion \"other\"", "  warning  quorum: x"]
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let of = |is_coloured| Report::new(is_coloured).add(&fact(Level::Error, "x"))[1].clone();
        assert_eq!(of(true), "  \x1b[31mERROR  \x1b[0m  quorum: x");
        assert_eq!(of(false), "  ERROR    quorum: x");
    }
}
