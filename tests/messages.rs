//! Every line that the code can log has a heading in `docs/operations.md`, or is listed here as
//! needing none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Texts that need no heading, each by a part of it.
const NO_HEADING: &[(&str, &str)] = &[
    (
        "check the configuration, the webservice",
        "the help of an option",
    ),
    ("do not ask before hetzner-switch", "the help of an option"),
    (", and exit; asks first", "the help of an option"),
    ("the address that hetzner-switch", "the help of an option"),
    ("the same, as one JSON object", "the help of an option"),
    ("fit, keeps the lordship", "part of the status line"),
    ("leads to no server", "part of the status line"),
    ("was not looked at", "part of the status line"),
    ("the corpus ", "said by tests alone"),
    ("ipv4, ipv6 or any", "part of `is not allowed: write`"),
    (
        "a Lord of this legion stays Lord when",
        "the help text of an option",
    ),
    (
        "legion \"{legion}\", {option}: {}: {reason}",
        "the beginning of a mistake",
    ),
    (
        "legion \"{legion}\", legion-lord: {reason}",
        "the beginning of a mistake",
    ),
    (
        "legion \"{legion}\", legion-{}",
        "the beginning of a mistake",
    ),
    (
        " to different servers, {one} and {two}",
        "part of `two hooks route`",
    ),
    ("twice in a row", "part of the lines on a health check"),
    (
        "{count} times in a row",
        "part of the lines on a health check",
    ),
    (
        "its answer is not the id of a server",
        "part of the line on the metadata service",
    ),
    (
        "there was no time left to ask it",
        "part of the line on the metadata service",
    ),
    (
        ": {max} requests in {interval} s",
        "part of the line on the rate limit",
    ),
];

const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A text with fewer words than this is a part of another one.
const LEAST_WORDS: usize = 4;

/// The string literals of a source file, without those of its tests and comments.
fn literals(source: &str) -> Vec<String> {
    let code = source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(source);
    let mut literals = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(['"', '/', '\'']) {
        rest = &rest[start..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest = &rest[3..];
        } else if let Some(inside) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = inside.char_indices();
            let mut end = inside.len();
            while let Some((index, character)) = characters.next() {
                match character {
                    '"' => {
                        end = index + 1;
                        break;
                    }
                    '\\' => match characters.next() {
                        // A line that goes on in the next one.
                        Some((_, '\n')) => {
                            let blank = |(_, next): &(usize, char)| next.is_whitespace();
                            while characters.clone().next().is_some_and(|next| blank(&next)) {
                                characters.next();
                            }
                        }
                        Some((_, 'n')) => text.push(' '),
                        Some((_, other)) => text.push(other),
                        None => {}
                    },
                    other => text.push(other),
                }
            }
            literals.push(text);
            rest = &inside[end.min(inside.len())..];
        } else {
            rest = &rest[1..];
        }
    }
    literals
}

/// What a text says whatever its values are: the pieces between its placeholders.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut depth = 0;
    for character in text.chars() {
        match character {
            '{' => {
                depth += 1;
                pieces.push(String::new());
            }
            '}' => depth -= 1,
            other if depth == 0 => pieces.last_mut().unwrap().push(other),
            _ => {}
        }
    }
    pieces
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("they can be listed").path();
        match path.is_dir() {
            // The report of a command says in each line what to do, and is no part of the log.
            true if !path.ends_with("tests") && !path.ends_with("command") => {
                found.extend(sources(&path));
            }
            false
                if path.extension().is_some_and(|end| end == "rs")
                    && !path.ends_with("tests.rs") =>
            {
                found.push(path);
            }
            _ => {}
        }
    }
    found
}

/// All texts in the sources that have so many words, each with the file that it stands in.
fn texts(least_words: usize) -> BTreeSet<(String, String)> {
    let mut sentences = BTreeSet::new();
    for path in sources(Path::new(SOURCES)) {
        let source = fs::read_to_string(&path).expect("a source can be read");
        for text in literals(&source) {
            let words = pieces(&text).join(" ");
            if words.split_whitespace().count() >= least_words {
                let name = path.strip_prefix(SOURCES).unwrap_or(&path);
                sentences.insert((name.display().to_string(), text));
            }
        }
    }
    sentences
}

/// The texts in backticks of the headings.
fn headings() -> Vec<String> {
    let text = fs::read_to_string(OPERATIONS).expect("docs/operations.md is there");
    let headings = text.lines().filter(|line| line.starts_with("### "));
    headings
        .flat_map(|line| line.split('`').skip(1).step_by(2).map(String::from))
        .collect()
}

#[test]
fn every_line_that_can_be_logged_has_a_heading() {
    let headings = headings();
    let is_covered = |text: &str| {
        let known = |part: &str| text.contains(part);
        headings.iter().any(|heading| known(heading))
            || NO_HEADING.iter().any(|(part, _)| known(part))
    };
    let missing: Vec<String> = texts(LEAST_WORDS)
        .into_iter()
        .filter(|(_, text)| !is_covered(text))
        .map(|(file, text)| format!("{file}: {text}"))
        .collect();
    assert!(
        missing.is_empty(),
        "{} texts have no heading in docs/operations.md:\n{}",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn every_heading_is_a_line_that_can_be_logged() {
    let sentences = texts(1);
    let headings = headings();
    assert!(headings.len() > 20, "{} headings", headings.len());
    for heading in headings {
        let is_there = sentences.iter().any(|(_, text)| text.contains(&heading));
        assert!(is_there, "no source says `{heading}`");
    }
}

#[test]
fn literals_are_read_as_the_compiler_does() {
    let source = "log!(\"one two \\\n     three\"); // \"no\"\nlet a = '\"'; b(\"x \\\"y\\\"\");\n#[cfg(test)]\nmod tests { \"z\" }";
    assert_eq!(literals(source), ["one two three", "x \"y\""]);
    assert_eq!(pieces("a {b} c {d:?}"), ["a ", " c ", ""]);
}
