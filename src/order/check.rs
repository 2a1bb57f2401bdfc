//! Raw keys to a validated order, with every mistake named.

use std::net::IpAddr;
use std::time::Duration;

use super::keys::RawKeys;
use super::values::{has_control, is_public, path, seconds, subnet, username, watch};
use super::{Family, Mistake, Order, PasswordSource, Reason, Trust, Url, WatchAction};
use crate::secret::Secret;

/// The address of Hetzner's webservice, to which the failover IP is appended.
const ROBOT: &str = "https://robot-ws.your-server.de/failover/";

/// `timeout` by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest default of `deadline`: a switch takes up to 110 s, and two may follow each other.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);
/// `watch` by default.
const DEFAULT_WATCH: Duration = Duration::from_secs(300);
/// The smallest `watch` but 0, in seconds.
const MIN_WATCH: u64 = 60;
/// The largest `watch`, in seconds: a day.
const MAX_WATCH: u64 = 86_400;
/// The largest `timeout`, in seconds.
const MAX_TIMEOUT: u64 = 3600;
/// The largest `deadline`, in seconds: a day.
const MAX_DEADLINE: u64 = 86_400;

/// An order, if all required values are valid. Whatever is not valid is added to the mistakes.
pub fn validate(keys: RawKeys, mistakes: &mut Vec<Mistake>) -> Option<Order> {
    let mut check = Checker { mistakes };
    let username = check.required("username", keys.username, username);
    let password = check.password(keys.password, keys.password_file);
    let failover_ip = check.required("ip", keys.ip, subnet);
    let active_ip = check.required("active_ip", keys.active_ip, subnet);
    check.pair(failover_ip, active_ip);
    if keys.url.is_none() {
        check.public("ip", failover_ip);
        check.public("active_ip", active_ip);
    }
    let url = match keys.url {
        Some(url) => check.optional("url", Some(url), Url::parse),
        None => failover_ip.and_then(|ip| Url::parse(format!("{ROBOT}{ip}").as_bytes()).ok()),
    };
    let family = check.optional("connect", keys.connect, Family::parse);
    if let (Some(family), Some(url)) = (family, &url) {
        check.family(family, url);
    }
    let watch = check.optional("watch", keys.watch, |text| {
        watch(text, MIN_WATCH, MAX_WATCH)
    });
    let watch_action = check.optional("watch_action", keys.watch_action, WatchAction::parse);
    let alarm = check.optional("alarm", keys.alarm, |name| Ok(name.to_vec()));
    let timeout_given = keys.timeout.is_some();
    let timeout = check.optional("timeout", keys.timeout, |text| {
        seconds(text, 1, MAX_TIMEOUT)
    });
    let least_deadline = match timeout {
        Some(timeout) => timeout.as_secs(),
        None if timeout_given => 1,
        None => DEFAULT_TIMEOUT.as_secs(),
    };
    let deadline = check.optional("deadline", keys.deadline, |text| {
        seconds(text, least_deadline, MAX_DEADLINE)
    });
    let bundle = check.optional("ca_file", keys.ca_file, path);
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    Some(Order {
        username: username?,
        password: password?,
        failover_ip: failover_ip?,
        active_ip: active_ip?,
        url: url?,
        timeout,
        deadline: deadline.unwrap_or(DEFAULT_DEADLINE.max(timeout)),
        watch: watch.unwrap_or(Some(DEFAULT_WATCH)),
        watch_action: watch_action.unwrap_or_default(),
        alarm,
        family: family.unwrap_or_default(),
        has_ca_file: bundle.is_some(),
        trust: Trust::of(keys.ssl_no_verify, bundle),
    })
}

/// Turns written values into valid ones, and collects the mistakes.
pub(super) struct Checker<'a> {
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Checker<'_> {
    fn required<T>(
        &mut self,
        key: &'static str,
        value: Option<Vec<u8>>,
        valid: impl FnOnce(&[u8]) -> Result<T, Reason>,
    ) -> Option<T> {
        if value.is_none() {
            self.mistakes.push(Mistake::new(key, Reason::Missing));
        }
        self.optional(key, value, valid)
    }

    /// `None` if there is no value, or it is not valid.
    pub(super) fn optional<T>(
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
        checked
            .map_err(|reason| self.mistakes.push(Mistake::new(key, reason)))
            .ok()
    }

    fn password(
        &mut self,
        inline: Option<Secret>,
        file: Option<Vec<u8>>,
    ) -> Option<PasswordSource> {
        match (inline, file) {
            (Some(_), Some(_)) => {
                self.mistakes
                    .push(Mistake::new("password", Reason::TwoPasswords));
                None
            }
            (Some(secret), None) if secret.expose().is_empty() => {
                self.mistakes.push(Mistake::new("password", Reason::Empty));
                None
            }
            (Some(secret), None) if has_control(secret.expose()) => {
                self.mistakes
                    .push(Mistake::new("password", Reason::ControlCharacter));
                None
            }
            (Some(secret), None) => Some(PasswordSource::Inline(secret)),
            (None, Some(file)) => self
                .optional("password_file", Some(file), path)
                .map(PasswordSource::File),
            (None, None) => {
                self.mistakes
                    .push(Mistake::new("password", Reason::NoPassword));
                None
            }
        }
    }

    fn public(&mut self, key: &'static str, address: Option<IpAddr>) {
        if let Some(address) = address.filter(|address| !is_public(*address)) {
            self.mistakes
                .push(Mistake::new(key, Reason::NotPublic(address)));
        }
    }

    /// A URL whose host is an address of the other family could never be reached.
    fn family(&mut self, family: Family, url: &Url) {
        let excluded = url.host().parse().ok().filter(|host| !family.has(*host));
        let family = match family {
            Family::Any => return,
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        if let Some(host) = excluded {
            let reason = Reason::FamilyOfUrl { family, host };
            self.mistakes.push(Mistake::new("connect", reason));
        }
    }

    fn pair(&mut self, failover_ip: Option<IpAddr>, active_ip: Option<IpAddr>) {
        let (Some(ip), Some(active_ip)) = (failover_ip, active_ip) else {
            return;
        };
        if ip.is_ipv4() != active_ip.is_ipv4() {
            let reason = Reason::OtherFamily { ip, active_ip };
            self.mistakes.push(Mistake::new("active_ip", reason));
        } else if ip == active_ip {
            self.mistakes
                .push(Mistake::new("active_ip", Reason::SameAddress(ip)));
        }
    }
}
