//! What the documents quote from `packaging/` is what is in the files there, and their links lead
//! somewhere.
//!
//! A quote is a fenced block after the line `<!-- quoted from packaging/FILE -->`. It contains the whole
//! file, or lines of it that follow each other.

use std::fs;
use std::path::{Path, PathBuf};

const MARKER: &str = "<!-- quoted from ";

#[test]
fn the_documents_quote_the_files_in_packaging() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = documents(root);
    let mut quotes = 0;
    let mut mistakes = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let read = |file: &str| fs::read_to_string(root.join(file)).ok();
        let found = check(&text, read);
        quotes += found.quotes;
        mistakes.extend(
            (found.mistakes.iter()).map(|mistake| format!("{}:{mistake}", document.display())),
        );
    }
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
    let has_docs = documents.iter().any(|path| path.starts_with("docs"));
    assert!(
        quotes > 0 || !has_docs,
        "no document quotes a file: write `{MARKER}packaging/FILE -->` before each block that does"
    );
}

#[test]
fn links_within_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    let mut mistakes = Vec::new();
    for document in documents(root) {
        let text = fs::read_to_string(root.join(&document)).unwrap();
        for link in links_in(&text) {
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let directory = document.parent().unwrap_or(Path::new(""));
            let target = match file {
                "" => root.join(&document),
                file => root.join(directory).join(file),
            };
            let is_there = match anchor {
                "" => target.exists(),
                anchor => fs::read_to_string(&target)
                    .is_ok_and(|text| anchors(&text).iter().any(|known| known == anchor)),
            };
            if !is_there {
                mistakes.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
    assert!(links > 50, "{links} links");
}

/// The targets of links to this repository.
fn links_in(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

/// The anchors of headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut is_block = false;
    for line in text.lines() {
        is_block ^= line.starts_with("```");
        let heading = line.trim_start_matches('#').strip_prefix(' ');
        let Some(heading) = heading.filter(|_| line.starts_with('#') && !is_block) else {
            continue;
        };
        let kept = |character: &char| character.is_alphanumeric() || "_- ".contains(*character);
        let lower = heading.to_lowercase();
        let anchor: String = lower.chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let mut names = std::iter::once(anchor.clone()).chain(numbered);
        anchors.extend(names.find(|name| !anchors.contains(name)));
    }
    anchors
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# A title\n## `a_b`: what's it, 3 x?\n```\n# none\n```\n### A title\n#no\n";
    assert_eq!(anchors(text), ["a-title", "a_b-whats-it-3-x", "a-title-1"]);
    let links: Vec<&str> = links_in("[a](b.md#c) [d](https://e) x](#f)\n](a b)").collect();
    assert_eq!(links, ["b.md#c", "#f"]);
}

/// README.md, SECURITY.md and docs/*.md, as far as they exist.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut documents = vec![PathBuf::from("README.md"), PathBuf::from("SECURITY.md")];
    if let Ok(entries) = fs::read_dir(root.join("docs")) {
        let names = entries.map(|entry| PathBuf::from("docs").join(entry.unwrap().file_name()));
        documents.extend(names.filter(|name| name.extension().is_some_and(|end| end == "md")));
    }
    documents.sort();
    documents.retain(|document| root.join(document).exists());
    documents
}

#[derive(Debug, Default)]
struct Found {
    /// The number of quotes, right or wrong.
    quotes: usize,
    /// `LINE: what is wrong`, one for each wrong quote.
    mistakes: Vec<String>,
}

/// Compares each quote in a document with the file that `read` returns for its name.
fn check(document: &str, read: impl Fn(&str) -> Option<String>) -> Found {
    let mut found = Found::default();
    let mut lines = (1..).zip(document.lines());
    // The line and the file of a marker whose block has not begun yet.
    let mut marker: Option<(usize, &str)> = None;
    while let Some((number, line)) = lines.next() {
        if let Some(fence) = Fence::opened_by(line) {
            let block: Vec<&str> = (lines.by_ref().map(|(_, line)| line))
                .take_while(|line| !fence.is_closed_by(line))
                .map(|line| fence.unindent(line))
                .collect();
            if let Some((_, file)) = marker.take() {
                let result = match read(file) {
                    Some(content) => compare(&block, &content.lines().collect::<Vec<_>>()),
                    None => Err("there is no such file".into()),
                };
                (found.mistakes)
                    .extend((result.err()).map(|reason| format!("{number}: {file}: {reason}")));
            }
        } else if !line.trim().is_empty() {
            if let Some((number, file)) = marker.take() {
                found
                    .mistakes
                    .push(format!("{number}: {file}: no fenced block follows"));
            }
            if let Some(rest) = line.trim().strip_prefix(MARKER) {
                found.quotes += 1;
                match rest.strip_suffix(" -->") {
                    Some(file) if is_in_packaging(file) => marker = Some((number, file)),
                    _ => (found.mistakes)
                        .push(format!("{number}: write it as {MARKER}packaging/FILE -->")),
                }
            }
        }
    }
    if let Some((number, file)) = marker {
        found
            .mistakes
            .push(format!("{number}: {file}: no fenced block follows"));
    }
    found
}

fn is_in_packaging(file: &str) -> bool {
    file.strip_prefix("packaging/")
        .is_some_and(|name| !name.split('/').any(|part| matches!(part, "" | "." | "..")))
}

/// Whether the block is a part of the file, or all of it.
fn compare(block: &[&str], file: &[&str]) -> Result<(), String> {
    if block.is_empty() {
        return Err("the block is empty".into());
    }
    // For each line of the file that the block may begin at: how many lines are the same from there on.
    let same = |start: usize| {
        let pairs = block.iter().zip(&file[start..]);
        pairs.take_while(|(ours, theirs)| ours == theirs).count()
    };
    let (start, longest) = (0..file.len())
        .map(|start| (start, same(start)))
        .max_by_key(|&(start, count)| (count, usize::MAX - start))
        .unwrap_or_default();
    if longest == block.len() {
        return Ok(());
    }
    let theirs = match file.get(start + longest) {
        Some(line) if longest > 0 => format!("has `{line}` there"),
        Some(_) => "has no such line".into(),
        None => "ends there".into(),
    };
    Err(format!(
        "line {} of the block is `{}`, but the file {theirs}",
        longest + 1,
        block[longest]
    ))
}

/// The first line of a fenced block.
struct Fence {
    character: char,
    length: usize,
    indent: usize,
}

impl Fence {
    fn opened_by(line: &str) -> Option<Fence> {
        let text = line.trim_start_matches(' ');
        let character = text
            .chars()
            .next()
            .filter(|first| matches!(first, '`' | '~'))?;
        let length = text.chars().take_while(|&next| next == character).count();
        // A line such as ```this``` is text with code in it.
        let is_text = character == '`' && text[length..].contains('`');
        (length >= 3 && !is_text).then_some(Fence {
            character,
            length,
            indent: line.len() - text.len(),
        })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let text = line.trim();
        text.len() >= self.length && text.chars().all(|next| next == self.character)
    }

    /// A block in a list is indented as its fence is.
    fn unindent<'a>(&self, line: &'a str) -> &'a str {
        let blanks = line.len() - line.trim_start_matches(' ').len();
        &line[blanks.min(self.indent)..]
    }
}

fn check_against(file: &str, document: &str) -> Found {
    check(document, |name| {
        (name == "packaging/x").then(|| file.into())
    })
}

#[test]
fn a_quote_of_a_whole_file_or_of_a_part_is_right() {
    for block in ["a\n\nb\nc", "a", "\nb", "b\nc", "c"] {
        let document =
            format!("text\n<!-- quoted from packaging/x -->\n```ini\n{block}\n```\ntext\n");
        let found = check_against("a\n\nb\nc\n", &document);
        assert!(
            found.quotes == 1 && found.mistakes.is_empty(),
            "{block}: {found:?}"
        );
    }
}

#[test]
fn a_quote_that_differs_is_a_mistake() {
    for (block, mistake) in [
        (
            "a\nx",
            "line 2 of the block is `x`, but the file has `b` there",
        ),
        (
            "a\nc",
            "line 2 of the block is `c`, but the file has `b` there",
        ),
        (
            "x",
            "line 1 of the block is `x`, but the file has no such line",
        ),
        (
            "a ",
            "line 1 of the block is `a `, but the file has no such line",
        ),
        (
            "b\nc\n",
            "line 3 of the block is ``, but the file ends there",
        ),
    ] {
        let document = format!("<!-- quoted from packaging/x -->\n\n```\n{block}\n```\n");
        let found = check_against("a\nb\nc\n", &document);
        assert_eq!(
            found.mistakes,
            [format!("3: packaging/x: {mistake}")],
            "{block}"
        );
    }
}

#[test]
fn a_marker_that_marks_nothing_is_a_mistake() {
    for (document, mistake) in [
        (
            "<!-- quoted from packaging/x -->\ntext\n```\na\n```\n",
            "1: packaging/x: no fenced block follows",
        ),
        (
            "<!-- quoted from packaging/x -->\n",
            "1: packaging/x: no fenced block follows",
        ),
        (
            "<!-- quoted from packaging/x -->\n```\n```\n",
            "2: packaging/x: the block is empty",
        ),
        (
            "<!-- quoted from packaging/y -->\n```\na\n```\n",
            "2: packaging/y: there is no such file",
        ),
        (
            "<!-- quoted from x -->\n```\na\n```\n",
            "1: write it as <!-- quoted from packaging/FILE -->",
        ),
        (
            "<!-- quoted from packaging/../x -->\n",
            "1: write it as <!-- quoted from packaging/FILE -->",
        ),
    ] {
        assert_eq!(
            check_against("a\n", document).mistakes,
            [mistake],
            "{document}"
        );
    }
}

#[test]
fn other_blocks_are_not_quotes() {
    let document = "```\nx\n```\n````md\n<!-- quoted from packaging/x -->\n```\ny\n```\n````\n";
    let found = check_against("a\n", document);
    assert!(found.quotes == 0 && found.mistakes.is_empty(), "{found:?}");
}

#[test]
fn a_block_in_a_list_is_indented() {
    let document = "- text\n\n  <!-- quoted from packaging/x -->\n  ~~~ini\n  a\n    b\n  ~~~\n";
    let found = check_against("a\n  b\n", document);
    assert!(found.quotes == 1 && found.mistakes.is_empty(), "{found:?}");
}
