//! An action's argument becomes a validated order, or a list of all its mistakes.

mod check;
pub mod health;
mod keys;
pub mod keyval;
mod mistake;
#[cfg(test)]
mod tests;
mod url;
mod values;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::{Secret, SecretError};
use keys::RawKeys;

pub use keys::is_off;
pub use mistake::{Mistake, Reason};
pub use url::Url;
pub use values::{Family, WatchAction};

/// What an action is ordered to do. Only [`Order::parse`] makes one.
#[derive(Debug)]
pub struct Order {
    pub username: Vec<u8>,
    password: PasswordSource,
    /// The failover IP.
    pub failover_ip: IpAddr,
    /// The main IP of the server that is to receive it.
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
    /// Which addresses of the webservice are used.
    pub family: Family,
    pub trust: Trust,
    has_ca_file: bool,
}

#[derive(Debug)]
enum PasswordSource {
    Inline(Secret),
    File(PathBuf),
}

/// Whose certificates are trusted.
#[derive(Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system's store vouches for.
    System,
    /// Those that this PEM bundle vouches for.
    Bundle(PathBuf),
    /// All of them.
    Anyone,
}

impl Trust {
    /// What the keys `ssl_no_verify` and `ca_file` ask for.
    fn of(accepts_anyone: bool, bundle: Option<PathBuf>) -> Trust {
        match (accepts_anyone, bundle) {
            (true, _) => Trust::Anyone,
            (false, Some(bundle)) => Trust::Bundle(bundle),
            (false, None) => Trust::System,
        }
    }
}

impl Order {
    /// Parses and validates an action's argument.
    ///
    /// # Errors
    /// All mistakes in it, each with its key.
    pub fn parse(argument: &[u8]) -> Result<Order, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let keys = RawKeys::collect(keyval::parse(argument), &mut mistakes);
        let order = check::validate(keys, &mut mistakes);
        match order {
            Some(order) if mistakes.is_empty() => Ok(order),
            _ => Err(mistakes),
        }
    }

    /// The password. If it is in a file, the file is read now.
    ///
    /// # Errors
    /// The password file cannot be used.
    pub fn password(&self) -> Result<Secret, SecretError> {
        match &self.password {
            PasswordSource::Inline(secret) => Ok(secret.clone()),
            PasswordSource::File(path) => Secret::from_file(path),
        }
    }

    /// What is wrong with the password file now, if there is one.
    pub fn check_password_file(&self) -> Option<Mistake> {
        let error = self.password().err()?;
        Some(Mistake::new("password_file", error.into()))
    }

    /// What is allowed but dangerous or useless, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let inline = match &self.password {
            PasswordSource::Inline(secret) => secret.expose(),
            PasswordSource::File(_) => &[],
        };
        for (key, value) in [("username", self.username.as_slice()), ("password", inline)] {
            if values::is_quoted(value) {
                warnings.push(format!(
                    "{key} is in quotes, which uWSGI does not remove: the webservice gets them, too"
                ));
            }
        }
        if self.trust == Trust::Anyone && self.has_ca_file {
            warnings.push("ca_file is ignored because ssl_no_verify is on".into());
        }
        if self.trust == Trust::Anyone && self.url.is_https() {
            warnings.push(
                "ssl_no_verify is on: anyone impersonating the webservice can obtain the password"
                    .into(),
            );
        }
        if !self.url.is_https() && !self.url.is_loopback() {
            warnings.push(format!(
                "url is http://, so the password crosses the network to {} unencrypted: use \
                 https://",
                self.url.host()
            ));
        }
        warnings
    }
}
