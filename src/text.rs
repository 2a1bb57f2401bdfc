//! What may be shown in a log of text that somebody else wrote.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How many characters of a foreign text are shown.
const SHOWN: usize = 200;

/// What of a foreign text may stand in a log line: no control characters (nor those that
/// change the direction or the look of what follows), and at most 200 characters.
pub fn printable(foreign: &[u8]) -> String {
    shorten(&clean(foreign))
}

/// As [`printable`], with every appearance of a secret replaced by `***`.
pub fn printable_without(foreign: &[u8], secrets: &[&[u8]]) -> String {
    let mut text = clean(foreign);
    for secret in secrets {
        // Cleaned alike, or a secret with a control character in it would slip through.
        let secret = clean(secret);
        if !secret.is_empty() {
            text = text.replace(&secret, "***");
        }
    }
    shorten(&text)
}

/// A path as it may stand in a log line.
pub fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

fn clean(foreign: &[u8]) -> String {
    String::from_utf8_lossy(foreign)
        .chars()
        .filter(|&character| !is_unprintable(character))
        .collect()
}

fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn control_characters_go() {
        assert_eq!(printable(b"a\nb\r\x1b[31mc\0d\x7f"), "ab[31mcd");
        assert_eq!(printable("a\u{202e}b\u{200b}c\u{85}".as_bytes()), "abc");
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert_eq!(printable(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn two_hundred_characters_stay() {
        assert_eq!(
            printable("\u{e9}".repeat(200).as_bytes()),
            "\u{e9}".repeat(200)
        );
        assert_eq!(printable(&[b'x'; 201]), "x".repeat(200) + "...");
    }

    #[test]
    fn secrets_are_masked_even_when_broken_up_by_control_characters() {
        let shown = printable_without(b"it was s3\x00cret, s3cret", &[b"s3cret"]);
        assert_eq!(shown, "it was ***, ***");
    }

    #[test]
    fn secrets_are_masked_before_the_text_is_shortened() {
        let text = "x".repeat(198) + "s3cret";
        assert_eq!(
            printable_without(text.as_bytes(), &[b"s3cret"]),
            "x".repeat(198) + "**..."
        );
    }

    /// Text that is foreign: of any characters, or of none.
    fn foreign() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..300),
            vec(any::<char>(), 0..300)
                .prop_map(|characters| characters.into_iter().collect::<String>().into_bytes()),
            vec(
                prop::sample::select(&b"ab\0\x1b\n%\xe2\x80\xae"[..]),
                0..300
            ),
        ]
    }

    /// A secret that the mask itself cannot spell.
    fn secret() -> impl Strategy<Value = String> {
        prop_oneof![
            vec(any::<char>(), 1..20),
            vec(
                prop::sample::select(&['a', 'b', '\0', '\u{200b}'][..]),
                1..4
            ),
        ]
        .prop_map(|characters| characters.into_iter().collect::<String>())
        .prop_filter("no mask", |secret| !secret.contains(['*', '.']))
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_short_and_printable(foreign in foreign()) {
            let shown = printable(&foreign);
            prop_assert!(!shown.contains(is_unprintable));
            let length = shown.chars().count();
            prop_assert!(length <= 200 || length == 203 && shown.ends_with("..."));
        }

        #[test]
        fn no_secret_survives(
            pieces in vec(foreign(), 1..4),
            secrets in [secret(), secret()],
        ) {
            let text = pieces.join(secrets[0].as_bytes());
            let text = [&text, secrets[1].as_bytes()].concat();
            let shown = printable_without(&text, &[secrets[0].as_bytes(), secrets[1].as_bytes()]);
            prop_assert!(!shown.contains(is_unprintable));
            for secret in secrets.iter().map(|secret| clean(secret.as_bytes())) {
                prop_assert!(secret.is_empty() || !shown.contains(&secret));
            }
        }
    }
}
