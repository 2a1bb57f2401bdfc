//! The items of an argument, by key.

use super::keyval::Item;
use super::{Mistake, Reason};
use crate::secret::Secret;
use crate::text;

/// The values as they are written, of each key the last.
#[derive(Default)]
pub struct RawKeys {
    pub username: Option<Vec<u8>>,
    pub password: Option<Secret>,
    pub password_file: Option<Vec<u8>>,
    pub ip: Option<Vec<u8>>,
    pub active_ip: Option<Vec<u8>>,
    pub url: Option<Vec<u8>>,
    pub timeout: Option<Vec<u8>>,
    pub deadline: Option<Vec<u8>>,
    pub watch: Option<Vec<u8>>,
    pub watch_action: Option<Vec<u8>>,
    pub alarm: Option<Vec<u8>>,
    pub connect: Option<Vec<u8>>,
    pub ssl_no_verify: bool,
    pub ca_file: Option<Vec<u8>>,
}

impl RawKeys {
    /// Sorts the items by their keys, and adds unknown keys and missing values to the mistakes.
    pub fn collect(items: Vec<Item>, mistakes: &mut Vec<Mistake>) -> RawKeys {
        let mut keys = RawKeys::default();
        let mut may_be_password = false;
        for (index, Item { key, value }) in items.into_iter().enumerate() {
            let is_password = matches!(key.as_slice(), b"password" | b"pass");
            let is_shown = value.is_some() && is_wordlike(&key);
            let taken = keys.take(&key, value);
            let is_unknown = taken.as_ref().is_err_and(Mistake::is_unknown_key);
            match taken {
                Ok(()) => {}
                // After a comma that was not escaped, the rest of a password becomes keys; and
                // `password:...` is a key.
                Err(_) if is_unknown && (may_be_password || !is_shown) => mistakes.push(
                    Mistake::new(&format!("item {}", index + 1), Reason::UnknownAndHidden),
                ),
                Err(mistake) => mistakes.push(mistake),
            }
            // An unknown key may be a misspelt `password`.
            may_be_password = is_password || is_unknown;
        }
        keys
    }

    fn take(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), Mistake> {
        let (name, field) = match key {
            b"username" | b"user" => ("username", &mut self.username),
            b"password_file" => ("password_file", &mut self.password_file),
            b"ip" => ("ip", &mut self.ip),
            b"active_ip" | b"active_server_ip" => ("active_ip", &mut self.active_ip),
            b"url" => ("url", &mut self.url),
            b"timeout" => ("timeout", &mut self.timeout),
            b"deadline" => ("deadline", &mut self.deadline),
            b"watch" => ("watch", &mut self.watch),
            b"watch_action" => ("watch_action", &mut self.watch_action),
            b"alarm" => ("alarm", &mut self.alarm),
            b"connect" => ("connect", &mut self.connect),
            b"ca_file" => ("ca_file", &mut self.ca_file),
            b"password" | b"pass" => {
                let value = value.ok_or_else(|| Mistake::new("password", Reason::NoValue))?;
                self.password = Some(Secret::new(value));
                return Ok(());
            }
            b"ssl_no_verify" => {
                self.ssl_no_verify = !value.is_some_and(|value| is_off(&value));
                return Ok(());
            }
            _ => return Err(Mistake::new(&text::printable(key), Reason::Unknown)),
        };
        *field = Some(value.ok_or_else(|| Mistake::new(name, Reason::NoValue))?);
        Ok(())
    }
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
