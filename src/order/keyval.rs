//! The keyval grammar of an action's argument: `key=value,key=value,...`.
//!
//! It is uWSGI's own (`uwsgi_kvlist_parse`, core/utils.c), made strict where uWSGI silently drops
//! what it does not understand. Nothing is wiped in here: a password that is written in the
//! argument stays in uWSGI's own copy of it for as long as uWSGI runs.

use std::fmt;

/// One item of the list, its escapes resolved.
#[derive(PartialEq, Eq)]
pub struct Item {
    /// The text before the first `=`, without spaces around it.
    pub key: Vec<u8>,
    /// The text after the first `=`, unchanged; `None` for a bare key.
    pub value: Option<Vec<u8>>,
}

/// It may contain a password, in its value or, if it is misspelt, in its key.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Item(..)")
    }
}

/// Splits `text` into its items, in their order. Empty items are left out, as uWSGI does.
///
/// Items end at `,`. A `\` makes the next character literal, such as a `,` or a `\`, but not a `=`,
/// because uWSGI looks for that afterwards. A `\` at the very end is dropped.
pub fn parse(text: &[u8]) -> Vec<Item> {
    let mut escaped = false;
    let items = text.split(|&byte| {
        let ends = byte == b',' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    items
        .map(unescape)
        .filter(|item| !item.trim_ascii().is_empty())
        .map(|item| Item::from_unescaped(&item))
        .collect()
}

fn unescape(item: &[u8]) -> Vec<u8> {
    let mut unescaped = Vec::with_capacity(item.len());
    let mut bytes = item.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => unescaped.extend(bytes.next()),
            _ => unescaped.push(byte),
        }
    }
    unescaped
}

impl Item {
    fn from_unescaped(item: &[u8]) -> Item {
        let (key, value) = match item.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&item[..equals], Some(item[equals + 1..].to_vec())),
            None => (item, None),
        };
        Item {
            key: key.trim_ascii().to_vec(),
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::{corpus, keyval as properties};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn items(text: &str) -> Vec<(String, Option<String>)> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        parse(text.as_bytes())
            .into_iter()
            .map(|item| (text_of(item.key), item.value.map(text_of)))
            .collect()
    }

    fn pair(key: &str, value: &str) -> (String, Option<String>) {
        (key.into(), Some(value.into()))
    }

    #[test]
    fn items_are_split_at_commas() {
        assert_eq!(items("a=1,b=2"), [pair("a", "1"), pair("b", "2")]);
    }

    #[test]
    fn a_key_ends_at_the_first_equals_sign() {
        assert_eq!(items("a=1=2=="), [pair("a", "1=2==")]);
    }

    #[test]
    fn a_backslash_makes_the_next_character_literal() {
        assert_eq!(items(r"a=1\,b=2"), [pair("a", "1,b=2")]);
        assert_eq!(items(r"a=1\\,b=2"), [pair("a", r"1\"), pair("b", "2")]);
        assert_eq!(items(r"a=x\yz"), [pair("a", "xyz")]);
    }

    #[test]
    fn a_backslash_does_not_protect_an_equals_sign() {
        assert_eq!(items(r"a\=b=2"), [pair("a", "b=2")]);
    }

    #[test]
    fn a_backslash_at_the_end_is_dropped() {
        assert_eq!(items("a=1\\"), [pair("a", "1")]);
    }

    #[test]
    fn spaces_around_a_key_are_dropped_and_those_of_a_value_kept() {
        assert_eq!(items(" a = 1 ,\tb=2"), [pair("a", " 1 "), pair("b", "2")]);
    }

    #[test]
    fn a_bare_key_has_no_value_and_an_empty_value_is_one() {
        assert_eq!(items("flag,b="), [("flag".into(), None), pair("b", "")]);
    }

    #[test]
    fn empty_items_are_left_out() {
        assert_eq!(items(",a=1,, ,"), [pair("a", "1")]);
        assert_eq!(items(""), []);
    }

    #[test]
    fn the_corpus_holds() {
        corpus::replay("keyval", properties::check);
    }

    /// Any byte, mostly those with a meaning.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            1 => any::<u8>(),
            1 => prop::sample::select(&b",\\= \t\n\0"[..]),
            1 => b'a'..=b'c',
        ]
    }

    /// A key without spaces around it, with a value or bare.
    fn item() -> impl Strategy<Value = Item> {
        let key = vec(byte().prop_filter("no =", |&byte| byte != b'='), 0..8)
            .prop_map(|key| key.trim_ascii().to_vec());
        (key, prop::option::of(vec(byte(), 0..12)))
            .prop_map(|(key, value)| Item { key, value })
            .prop_filter("not empty", |item| {
                !item.key.is_empty() || item.value.is_some()
            })
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(text in vec(byte(), 0..200)) {
            properties::check(&text);
        }

        #[test]
        fn what_is_escaped_comes_back(items in vec(item(), 0..6)) {
            prop_assert_eq!(parse(&properties::written(&items)), items);
        }
    }
}
