//! The commands that a Markdown document shows.

/// A command of a fenced block, without its prompt and its comment.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it begins.
    pub line: usize,
    pub text: String,
    /// Whether `<!-- not run: REASON -->` comes before the block.
    pub is_left_out: bool,
}

/// The commands of a document, and each line with text of a block that is neither labelled nor has a
/// prompt, which should contain no command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Commands {
    pub commands: Vec<Command>,
    pub unlabelled: Vec<(usize, String)>,
}

/// Finds the commands: all lines of blocks that are labelled `sh`, `bash` or `shell`, and in other blocks the
/// lines with a prompt, `$ `. A line that ends with `|`, `\` or `&&` is continued by the next one.
pub fn commands(document: &str) -> Commands {
    let mut found = Commands::default();
    let mut is_left_out = false;
    let mut lines = (1..).zip(document.lines());
    while let Some((_, text)) = lines.next() {
        let text = text.trim();
        if let Some(comment) = text.strip_prefix("<!-- ") {
            is_left_out = comment.starts_with("not run: ");
        }
        let Some(language) = text.strip_prefix("```") else {
            continue;
        };
        let is_shell = ["sh", "bash", "shell"].contains(&language);
        let mut is_continued = false;
        let block = lines.by_ref().map(|(line, text)| (line, text.trim()));
        for (line, text) in block.take_while(|(_, text)| *text != "```") {
            let command = text.strip_prefix("$ ").or(is_shell.then_some(text));
            if is_continued {
                let last: Option<&mut Command> = found.commands.last_mut();
                let last = last.expect("a command has begun");
                last.text += "\n";
                last.text += text;
            } else if text.is_empty() || is_shell && text.starts_with('#') {
                continue;
            } else if let Some(command) = command {
                let (command, _comment) = command.split_once(" #").unwrap_or((command, ""));
                found.commands.push(Command {
                    line,
                    text: command.trim_end().to_string(),
                    is_left_out,
                });
            } else if language.is_empty() {
                found.unlabelled.push((line, text.to_string()));
            }
            is_continued = (is_continued || command.is_some())
                && ["|", "\\", "&&"].iter().any(|end| text.ends_with(end));
        }
        is_left_out = false;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_blocks_of_a_shell_and_after_prompts() {
        let document = "\
            make no\n\
            ```sh\nmake a   # why\n\n# a comment\ncurl b |\n    jq c\nmake d\n```\n\
            - in a list\n\n  ```sh\n  make e\n  ```\n\
            ```\n$ make f\noutput\n```\n\
            ```ini\nkey = value\n```\n\
            <!-- not run: it needs g -->\n```sh\nmake g\n```\n\
            ```bash\nmake h\n```\n";
        let found = commands(document);
        let shown = |command: &Command| (command.line, command.text.clone());
        let expected = [
            (3, "make a"),
            (6, "curl b |\njq c"),
            (8, "make d"),
            (13, "make e"),
            (16, "make f"),
            (24, "make g"),
            (27, "make h"),
        ];
        let expected = expected.map(|(line, text)| (line, text.to_string()));
        assert_eq!(
            found.commands.iter().map(shown).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(found.unlabelled, [(17, "output".to_string())]);
        let left_out = found.commands.iter().filter(|command| command.is_left_out);
        assert_eq!(left_out.map(shown).collect::<Vec<_>>(), expected[5..6]);
    }
}
