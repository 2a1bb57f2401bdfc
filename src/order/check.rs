//! Raw keys to valid values, with every mistake named: what all actions have in common.

use std::net::IpAddr;
use std::time::Duration;

use super::keys::RawKeys;
use super::values::{has_control, path, seconds, watch};
use super::{
    Action, Family, MAX_ADDRESSES, Mistake, Order, Reason, SecretPlace, SecretSource, Service,
    Trust, Url, WatchAction,
};

/// The largest `watch`, in seconds: a day.
const MAX_WATCH: u64 = 86_400;
/// The largest `timeout`, in seconds.
const MAX_TIMEOUT: u64 = 3600;
/// The largest `deadline`, in seconds: a day.
const MAX_DEADLINE: u64 = 86_400;

/// What an action has where nothing else is written.
pub(super) struct Defaults {
    pub timeout: Duration,
    /// The shortest default of `deadline`.
    pub deadline: Duration,
    pub watch: Duration,
    /// The smallest `watch` but 0, in seconds.
    pub min_watch: u64,
}

/// The values of the keys that all actions have.
pub(super) struct Common {
    timeout: Duration,
    deadline: Duration,
    watch: Option<Duration>,
    watch_action: WatchAction,
    alarm: Option<Vec<u8>>,
    family: Family,
    trust: Trust,
    has_ca_file: bool,
    /// What is useless about all of it together.
    warning: Option<String>,
}

/// How long one of several alias IPs takes, which are moved one after the other, in seconds: the most
/// that was measured with another tool.
const MOVE: u64 = 20;

impl Common {
    /// Warns if so many alias IPs may not be moved before the deadline.
    pub fn warn_of_turns(&mut self, number: usize) {
        let needed = MOVE * u64::try_from(number).unwrap_or(u64::MAX);
        let deadline = self.deadline.as_secs();
        self.warning = (number > 1 && needed > deadline).then(|| {
            format!(
                "{number} alias IPs are moved one after the other, which takes up to {needed} s; deadline \
                 is {deadline} s: set it to {needed}"
            )
        });
    }

    /// An order for one address.
    pub fn order(&self, action: Action, ip: IpAddr, service: Service) -> Order {
        Order {
            action,
            ip,
            service,
            timeout: self.timeout,
            deadline: self.deadline,
            watch: self.watch,
            watch_action: self.watch_action,
            alarm: self.alarm.clone(),
            family: self.family,
            trust: self.trust.clone(),
            has_ca_file: self.has_ca_file,
            warning: self.warning.clone(),
        }
    }
}

/// Turns written values into valid ones, and collects the mistakes.
pub(super) struct Checker<'a> {
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Checker<'_> {
    pub fn mistake(&mut self, key: &str, reason: Reason) {
        self.mistakes.push(Mistake::new(key, reason));
    }

    pub fn required<T>(
        &mut self,
        key: &'static str,
        value: Option<Vec<u8>>,
        valid: impl FnOnce(&[u8]) -> Result<T, Reason>,
    ) -> Option<T> {
        if value.is_none() {
            self.mistake(key, Reason::Missing);
        }
        self.optional(key, value, valid)
    }

    /// `None` if there is no value, or it is not valid.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        value: Option<Vec<u8>>,
        valid: impl FnOnce(&[u8]) -> Result<T, Reason>,
    ) -> Option<T> {
        let value = value?;
        let checked = match value.as_slice() {
            [] => Err(Reason::Empty),
            value => valid(value),
        };
        checked.map_err(|reason| self.mistake(key, reason)).ok()
    }

    /// Addresses, separated by blanks. `None` if one of them is not valid.
    pub fn addresses(
        &mut self,
        key: &'static str,
        value: Option<Vec<u8>>,
        valid: impl Fn(&[u8]) -> Result<IpAddr, Reason>,
    ) -> Option<Vec<IpAddr>> {
        let value = self.required(key, value, |value| Ok(value.to_vec()))?;
        let written = value.split(u8::is_ascii_whitespace);
        let written: Vec<&[u8]> = written.filter(|address| !address.is_empty()).collect();
        match written.len() {
            0 => self.mistake(key, Reason::Empty),
            1..=MAX_ADDRESSES => {}
            number => self.mistake(key, Reason::TooManyAddresses(MAX_ADDRESSES, number)),
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in &written {
            match valid(address) {
                Ok(address) if addresses.contains(&address) => {
                    self.mistake(key, Reason::Twice(address));
                }
                Ok(address) => addresses.push(address),
                Err(reason) => self.mistake(key, reason),
            }
        }
        (addresses.len() == written.len() && !written.is_empty()).then_some(addresses)
    }

    /// The secret of this key, or the file of the other one.
    pub fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        keys: &mut RawKeys,
        valid: impl FnOnce(&[u8]) -> Result<(), Reason>,
    ) -> Option<SecretSource> {
        match (keys.secret.take(), keys.remove(file_key)) {
            (Some(_), Some(_)) => {
                self.mistake(key, Reason::TwoSecrets(key, file_key));
                None
            }
            (Some(secret), None) => {
                let checked = match secret.expose() {
                    [] => Err(Reason::Empty),
                    value if has_control(value) => Err(Reason::ControlCharacter),
                    value => valid(value),
                };
                checked.map_err(|reason| self.mistake(key, reason)).ok()?;
                let place = SecretPlace::Inline(secret);
                Some(SecretSource { key, place })
            }
            (None, Some(file)) => {
                let file = self.optional(file_key, Some(file), path)?;
                Some(SecretSource {
                    key: file_key,
                    place: SecretPlace::File(file),
                })
            }
            (None, None) => {
                self.mistake(key, Reason::NoSecret(key, file_key));
                None
            }
        }
    }

    /// The keys that all actions have. Invalid values are added to the mistakes.
    pub fn common(&mut self, keys: &mut RawKeys, defaults: &Defaults) -> Common {
        let family = self.optional("connect", keys.remove("connect"), Family::parse);
        let watch = self.optional("watch", keys.remove("watch"), |text| {
            watch(text, defaults.min_watch, MAX_WATCH)
        });
        let watch_action = self.optional(
            "watch_action",
            keys.remove("watch_action"),
            WatchAction::parse,
        );
        let alarm = self.optional("alarm", keys.remove("alarm"), |name| Ok(name.to_vec()));
        let timeout_given = keys.has("timeout");
        let timeout = self.optional("timeout", keys.remove("timeout"), |text| {
            seconds(text, 1, MAX_TIMEOUT)
        });
        let least_deadline = match timeout {
            Some(timeout) => timeout.as_secs(),
            None if timeout_given => 1,
            None => defaults.timeout.as_secs(),
        };
        let deadline = self.optional("deadline", keys.remove("deadline"), |text| {
            seconds(text, least_deadline, MAX_DEADLINE)
        });
        let bundle = self.optional("ca_file", keys.remove("ca_file"), path);
        let timeout = timeout.unwrap_or(defaults.timeout);
        Common {
            timeout,
            deadline: deadline.unwrap_or(defaults.deadline.max(timeout)),
            watch: watch.unwrap_or(Some(defaults.watch)),
            watch_action: watch_action.unwrap_or_default(),
            alarm,
            family: family.unwrap_or_default(),
            has_ca_file: bundle.is_some(),
            warning: None,
            trust: Trust::of(keys.ssl_no_verify, bundle),
        }
    }

    /// A URL whose host is an address of the other family could never be reached.
    pub fn family(&mut self, common: &Common, url_key: &'static str, url: &Url) {
        let excluded = url.host().parse().ok();
        let excluded = excluded.filter(|host| !common.family.has(*host));
        let family = match common.family {
            Family::Any => return,
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        if let Some(host) = excluded {
            let reason = Reason::FamilyOfUrl {
                family,
                host,
                url_key,
            };
            self.mistake("connect", reason);
        }
    }
}
