//! The items of an argument, by key.

use std::collections::BTreeMap;

use super::keyval::Item;
use super::{Action, Mistake, Reason};
use crate::secret::Secret;
use crate::text;

/// The keys of `hetzner-failoverip`, before those that all actions have.
const ROBOT: [&str; 6] = [
    "username",
    "password",
    "password_file",
    "ip",
    "active_ip",
    "url",
];
/// The keys of `hetzner-floatingip`.
const FLOATING: [&str; 5] = ["token", "token_file", "ip", "server", "endpoint"];
/// The keys of `hetzner-aliasip`.
const ALIAS: [&str; 6] = ["token", "token_file", "ip", "server", "network", "endpoint"];
/// The keys of all actions.
const COMMON: [&str; 8] = [
    "timeout",
    "deadline",
    "watch",
    "watch_action",
    "alarm",
    "connect",
    "ssl_no_verify",
    "ca_file",
];
/// Other names of keys.
const ALIASES: [(&str, &str); 4] = [
    ("user", "username"),
    ("pass", "password"),
    ("active_server_ip", "active_ip"),
    ("api_token", "token"),
];

/// The keys of an action, without their aliases.
pub fn of(action: Action) -> impl Iterator<Item = &'static str> {
    let own: &[&str] = match action {
        Action::Failover => &ROBOT,
        Action::Floating => &FLOATING,
        Action::Alias => &ALIAS,
    };
    own.iter().chain(&COMMON).copied()
}

/// The values as they are written, of each key the last.
#[derive(Default)]
pub struct RawKeys {
    /// `password` or `token`.
    pub secret: Option<Secret>,
    pub ssl_no_verify: bool,
    /// All others.
    values: BTreeMap<&'static str, Vec<u8>>,
}

impl RawKeys {
    /// Sorts the items by their keys, and adds unknown keys and missing values to the mistakes.
    pub fn collect(action: Action, items: Vec<Item>, mistakes: &mut Vec<Mistake>) -> RawKeys {
        let mut keys = RawKeys::default();
        // A word alone may be the secret if nothing else is.
        let has_secret = items.iter().any(|item| {
            let name = name(action, &item.key).filter(|_| item.value.is_some());
            name.is_some_and(|name| is_secret(name) || name.ends_with("_file") && name != "ca_file")
        });
        let mut may_be_secret = false;
        for (index, Item { key, value }) in items.into_iter().enumerate() {
            let name = name(action, &key);
            let is_shown = (value.is_some() || has_secret) && is_wordlike(&key);
            match name {
                Some(name) => keys
                    .take(name, value)
                    .unwrap_or_else(|mistake| mistakes.push(mistake)),
                // After a comma that was not escaped, the rest of a password becomes keys; and
                // `password:...` is a key.
                None if may_be_secret || !is_shown => mistakes.push(Mistake::new(
                    &format!("item {}", index + 1),
                    Reason::UnknownAndHidden,
                )),
                None => {
                    let reason = Reason::Unknown(action);
                    mistakes.push(Mistake::new(&text::printable(&key), reason));
                }
            }
            // An unknown key may be a misspelt `password`.
            may_be_secret = name.is_none_or(is_secret);
        }
        keys
    }

    fn take(&mut self, name: &'static str, value: Option<Vec<u8>>) -> Result<(), Mistake> {
        if name == "ssl_no_verify" {
            self.ssl_no_verify = !value.is_some_and(|value| is_off(&value));
            return Ok(());
        }
        let value = value.ok_or_else(|| Mistake::new(name, Reason::NoValue))?;
        match is_secret(name) {
            true => self.secret = Some(Secret::new(value)),
            false => {
                self.values.insert(name, value);
            }
        }
        Ok(())
    }

    /// Whether a key was given. Not for the secret.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Takes the value of a key out. Not for the secret.
    pub fn remove(&mut self, name: &str) -> Option<Vec<u8>> {
        self.values.remove(name)
    }
}

/// The key of an action that goes by this name.
pub fn name(action: Action, key: &[u8]) -> Option<&'static str> {
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| alias.as_bytes() == key)
        .map(|(_, name)| name.as_bytes());
    of(action).find(|name| name.as_bytes() == alias.unwrap_or(key))
}

fn is_secret(name: &str) -> bool {
    matches!(name, "password" | "token")
}

/// Whether a key looks like a key, and not like something else that was written in its place.
fn is_wordlike(key: &[u8]) -> bool {
    let is_of_a_word = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    key.len() <= 32 && key.iter().all(is_of_a_word)
}

/// Whether the value of a flag turns it off.
pub fn is_off(value: &[u8]) -> bool {
    ["0", "no", "off", "false"]
        .iter()
        .any(|off| value.eq_ignore_ascii_case(off.as_bytes()))
}
