//! A problem, as a sentence that a person can act on.

use std::fmt;

/// One problem with a provider. What a server sent has been made printable, and stripped of
/// secrets, before it gets in here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem(String);

impl Problem {
    /// Takes anything that reads as a sentence.
    pub fn new(sentence: impl fmt::Display) -> Problem {
        Problem(sentence.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
