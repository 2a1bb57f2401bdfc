//! Pairs to a validated takeover order, with every mistake named.

pub mod health;
pub mod keyval;
mod mistake;
#[cfg(test)]
mod tests;
mod url;
mod values;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::{FileError, Secret};
use crate::text;
use keyval::Item;

pub use mistake::{Mistake, Reason};
pub use url::Url;
pub use values::{Family, WatchAction, has_usable, read_bundle};
use values::{is_public, path, seconds, subnet, username, watch};

/// The webservice's own address; the failover IP is appended to it.
const ROBOT: &str = "https://robot-ws.your-server.de/failover/";

/// `timeout` when none is given.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest default of `deadline`: a switch takes up to 110 s, and two may follow each other.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);
/// `watch` when none is given.
const DEFAULT_WATCH: Duration = Duration::from_secs(300);
/// The smallest `watch` but 0, in seconds.
const MIN_WATCH: u64 = 60;
/// The largest `watch`, in seconds: a day.
const MAX_WATCH: u64 = 86_400;
/// The largest `timeout`, in seconds.
const MAX_TIMEOUT: u64 = 3600;
/// The largest `deadline`, in seconds: a day.
const MAX_DEADLINE: u64 = 86_400;

/// What an action is told to do. It can only be made by [`Order::parse`].
#[derive(Debug)]
pub struct Order {
    pub username: Vec<u8>,
    password: PasswordSource,
    /// The failover IP.
    pub failover_ip: IpAddr,
    /// The server that is to receive it.
    pub active_ip: IpAddr,
    /// The failover IP's resource.
    pub url: Url,
    /// How long one API request may take.
    pub timeout: Duration,
    /// How long the whole takeover may take.
    pub deadline: Duration,
    /// How often a Lord looks where the address is routed; `None` for never.
    pub watch: Option<Duration>,
    pub watch_action: WatchAction,
    /// The uWSGI alarm to trigger when somebody has to look after the address.
    pub alarm: Option<Vec<u8>>,
    /// By which addresses the webservice is reached.
    pub family: Family,
    pub trust: Trust,
    bundle_given: bool,
}

#[derive(Debug)]
enum PasswordSource {
    Inline(Secret),
    File(PathBuf),
}

/// Whose certificates are believed.
#[derive(Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system's store vouches for.
    System,
    /// Those that this PEM bundle vouches for.
    Bundle(PathBuf),
    /// Everybody's.
    Anyone,
}

/// The keys as they were given, each the last of its kind.
#[derive(Default)]
struct Given {
    username: Option<Vec<u8>>,
    password: Option<Secret>,
    password_file: Option<Vec<u8>>,
    ip: Option<Vec<u8>>,
    active_ip: Option<Vec<u8>>,
    url: Option<Vec<u8>>,
    timeout: Option<Vec<u8>>,
    deadline: Option<Vec<u8>>,
    watch: Option<Vec<u8>>,
    watch_action: Option<Vec<u8>>,
    alarm: Option<Vec<u8>>,
    connect: Option<Vec<u8>>,
    ssl_no_verify: bool,
    ca_file: Option<Vec<u8>>,
}

impl Order {
    /// Parses and validates an action's argument.
    ///
    /// # Errors
    /// Every mistake in it, each naming its key.
    pub fn parse(argument: &[u8]) -> Result<Order, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let given = Given::collect(keyval::parse(argument), &mut mistakes);
        let order = given.validate(&mut mistakes);
        match order {
            Some(order) if mistakes.is_empty() => Ok(order),
            _ => Err(mistakes),
        }
    }

    /// The password, read now if it stands in a file.
    ///
    /// # Errors
    /// The password file cannot be used.
    pub fn password(&self) -> Result<Secret, FileError> {
        match &self.password {
            PasswordSource::Inline(secret) => Ok(secret.clone()),
            PasswordSource::File(path) => Secret::from_file(path),
        }
    }

    /// What is wrong now with the files that a takeover will read.
    pub fn check_files(&self) -> Vec<Mistake> {
        let password = match &self.password {
            PasswordSource::Inline(_) => None,
            PasswordSource::File(path) => Secret::from_file(path)
                .err()
                .map(|error| Mistake::new("password_file", error.into())),
        };
        let bundle = match &self.trust {
            Trust::Bundle(path) => values::check_bundle(path)
                .err()
                .map(|reason| Mistake::new("ca_file", reason)),
            Trust::System | Trust::Anyone => None,
        };
        password.into_iter().chain(bundle).collect()
    }

    /// What works but should be known, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.trust == Trust::Anyone && self.bundle_given {
            warnings.push("ca_file is not used, since ssl_no_verify is on".into());
        }
        if self.trust == Trust::Anyone && self.url.is_https() {
            warnings.push(
                "ssl_no_verify is on: whoever answers in the webservice's place gets the password"
                    .into(),
            );
        }
        if !self.url.is_https() && !self.url.is_loopback() {
            warnings.push(format!(
                "url is http://, so the password crosses the network to {} unencrypted: use https://",
                self.url.host()
            ));
        }
        warnings
    }
}

impl Given {
    fn collect(items: Vec<Item>, mistakes: &mut Vec<Mistake>) -> Given {
        let mut given = Given::default();
        let mut may_be_a_piece = false;
        for (index, Item { key, value }) in items.into_iter().enumerate() {
            let is_password = matches!(key.as_slice(), b"password" | b"pass");
            let is_shown = value.is_some() && is_wordlike(&key);
            let taken = given.take(&key, value);
            let is_unknown = taken.as_ref().is_err_and(Mistake::is_unknown_key);
            match taken {
                Ok(()) => {}
                // A comma in a password, not escaped, makes keys of the rest of it; and
                // `password:...` is one key.
                Err(_) if is_unknown && (may_be_a_piece || !is_shown) => mistakes.push(
                    Mistake::new(&format!("item {}", index + 1), Reason::UnknownAndHidden),
                ),
                Err(mistake) => mistakes.push(mistake),
            }
            // An unknown key may be `password`, misspelt.
            may_be_a_piece = is_password || is_unknown;
        }
        given
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

    fn validate(self, mistakes: &mut Vec<Mistake>) -> Option<Order> {
        let mut check = Checker { mistakes };
        let username = check.required("username", self.username, username);
        let password = check.password(self.password, self.password_file);
        let failover_ip = check.required("ip", self.ip, subnet);
        let active_ip = check.required("active_ip", self.active_ip, subnet);
        check.pair(failover_ip, active_ip);
        if self.url.is_none() {
            check.public("ip", failover_ip);
            check.public("active_ip", active_ip);
        }
        let url = match self.url {
            Some(url) => check.optional("url", Some(url), Url::parse),
            None => failover_ip.and_then(|ip| Url::parse(format!("{ROBOT}{ip}").as_bytes()).ok()),
        };
        let family = check.optional("connect", self.connect, Family::parse);
        if let (Some(family), Some(url)) = (family, &url) {
            check.family(family, url);
        }
        let watch = check.optional("watch", self.watch, |text| {
            watch(text, MIN_WATCH, MAX_WATCH)
        });
        let watch_action = check.optional("watch_action", self.watch_action, WatchAction::parse);
        let alarm = check.optional("alarm", self.alarm, |name| Ok(name.to_vec()));
        let timeout_given = self.timeout.is_some();
        let timeout = check.optional("timeout", self.timeout, |text| {
            seconds(text, 1, MAX_TIMEOUT)
        });
        let least_deadline = match timeout {
            Some(timeout) => timeout.as_secs(),
            None if timeout_given => 1,
            None => DEFAULT_TIMEOUT.as_secs(),
        };
        let deadline = check.optional("deadline", self.deadline, |text| {
            seconds(text, least_deadline, MAX_DEADLINE)
        });
        let bundle = check.optional("ca_file", self.ca_file, path);
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
            bundle_given: bundle.is_some(),
            trust: match (self.ssl_no_verify, bundle) {
                (true, _) => Trust::Anyone,
                (false, Some(bundle)) => Trust::Bundle(bundle),
                (false, None) => Trust::System,
            },
        })
    }
}

/// Whether a key looks like one, and not like something else that was written in its place.
fn is_wordlike(key: &[u8]) -> bool {
    let is_of_a_word = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    key.len() <= 32 && key.iter().all(is_of_a_word)
}

/// Whether a flag's value turns it off.
pub(crate) fn is_off(value: &[u8]) -> bool {
    ["0", "no", "off", "false"]
        .iter()
        .any(|off| value.eq_ignore_ascii_case(off.as_bytes()))
}

/// Turns given values into valid ones, and collects the mistakes.
struct Checker<'a> {
    mistakes: &'a mut Vec<Mistake>,
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

    /// `None` when nothing was given, or what was given is a mistake.
    fn optional<T>(
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

    /// A url whose host is an address of the other family could never be reached.
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
