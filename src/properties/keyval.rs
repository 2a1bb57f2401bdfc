//! Properties of the keyval grammar.

pub use crate::order::keyval::{Item, parse};

/// # Panics
/// Something is not true of this text.
pub fn check(text: &[u8]) {
    let items = parse(text);
    assert!(items.len() <= count(text, b',') + 1);
    assert!(written(&items).iter().filter(|&&byte| byte == b'=').count() <= count(text, b'='));
    for Item { key, value } in &items {
        assert!(!key.contains(&b'=') && key.trim_ascii() == key);
        assert!(!key.is_empty() || value.is_some());
    }
    assert_eq!(parse(&written(&items)), items);
}

/// The text of these items, with everything escaped that has a meaning.
pub fn written(items: &[Item]) -> Vec<u8> {
    let items: Vec<Vec<u8>> = items.iter().map(written_item).collect();
    items.join(&b',')
}

fn written_item(Item { key, value }: &Item) -> Vec<u8> {
    let mut text = key.clone();
    if let Some(value) = value {
        text.push(b'=');
        text.extend(value);
    }
    let escape = |byte| match byte {
        b',' | b'\\' => vec![b'\\', byte],
        _ => vec![byte],
    };
    text.into_iter().flat_map(escape).collect()
}

fn count(text: &[u8], wanted: u8) -> usize {
    text.iter().filter(|&&byte| byte == wanted).count()
}
