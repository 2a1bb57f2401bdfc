//! An action's argument becomes validated orders, one for each address, or a list of all its mistakes.

mod check;
mod cloud;
pub mod health;
mod keys;
pub mod keyval;
mod mistake;
mod robot;
#[cfg(test)]
mod tests;
mod url;
mod values;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::{Secret, SecretError};
use check::Checker;
use keys::RawKeys;

pub use cloud::{Cloud, Named};
pub use keys::is_off;
pub use mistake::{Mistake, Reason};
pub use robot::Robot;
pub use url::Url;
pub use values::{Family, WatchAction};

/// How many addresses one action moves at most.
pub const MAX_ADDRESSES: usize = 16;

/// The legion actions that move addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Failover,
    Floating,
    Alias,
}

impl Action {
    pub const ALL: [Action; 3] = [Action::Failover, Action::Floating, Action::Alias];

    /// As it is written in the configuration, and at the beginning of each line of the log.
    pub fn name(self) -> &'static str {
        match self {
            Action::Failover => "hetzner-failoverip",
            Action::Floating => "hetzner-floatingip",
            Action::Alias => "hetzner-aliasip",
        }
    }

    /// What Hetzner calls the addresses that it moves.
    pub fn address(self) -> &'static str {
        match self {
            Action::Failover => "failover IP",
            Action::Floating => "Floating IP",
            Action::Alias => "alias IP",
        }
    }

    pub fn parse(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an action is ordered to do with one address. Only [`parse`] makes one.
#[derive(Debug)]
pub struct Order {
    pub action: Action,
    /// The address that is to be moved here.
    pub ip: IpAddr,
    pub service: Service,
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
    /// What is useless about the whole action.
    warning: Option<String>,
}

/// Who is asked to move an address, with what, and to where.
#[derive(Debug)]
pub enum Service {
    Robot(Robot),
    Cloud(Cloud),
}

/// Where the password or the token is.
#[derive(Debug, Clone)]
pub struct SecretSource {
    /// The key that contains it, or whose value is the path of its file.
    pub key: &'static str,
    place: SecretPlace,
}

#[derive(Debug, Clone)]
enum SecretPlace {
    Inline(Secret),
    File(PathBuf),
}

impl SecretSource {
    /// If it is in a file, the file is read now.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn get(&self) -> Result<Secret, SecretError> {
        match &self.place {
            SecretPlace::Inline(secret) => Ok(secret.clone()),
            SecretPlace::File(path) => Secret::from_file(path),
        }
    }

    /// What is wrong with its file now, if there is one.
    pub fn check_file(&self) -> Option<Mistake> {
        let reason = match self.get() {
            Err(error) => error.into(),
            Ok(secret) if self.key == "token_file" => cloud::token(secret.expose()).err()?,
            Ok(secret) if values::has_control(secret.expose()) => Reason::ControlCharacter,
            Ok(_) => return None,
        };
        Some(Mistake::new(self.key, reason))
    }

    fn is_quoted(&self) -> bool {
        match &self.place {
            SecretPlace::Inline(secret) => values::is_quoted(secret.expose()),
            SecretPlace::File(_) => false,
        }
    }
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Parses and validates an action's argument. There is at least one order.
///
/// # Errors
/// All mistakes in it, each with its key.
pub fn parse(action: Action, argument: &[u8]) -> Result<Vec<Order>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let keys = RawKeys::collect(action, keyval::parse(argument), &mut mistakes);
    let orders = match action {
        Action::Failover => robot::validate(keys, &mut mistakes),
        Action::Floating | Action::Alias => cloud::validate(action, keys, &mut mistakes),
    };
    match orders {
        Some(orders) if mistakes.is_empty() => Ok(orders),
        _ => Err(mistakes),
    }
}

/// What an argument needs from outside, as far as it can be read.
pub struct Needs {
    /// The password or the token.
    pub secret: Option<SecretSource>,
    pub trust: Trust,
    pub alarm: Option<Vec<u8>>,
    /// The address that it is about, if that is one.
    pub ip: Option<IpAddr>,
}

/// What an argument needs from outside, whatever else is wrong with it.
pub fn needs(action: Action, argument: &[u8]) -> Needs {
    // They are known from `parse`.
    let mut mistakes = Vec::new();
    let mut keys = RawKeys::collect(action, keyval::parse(argument), &mut mistakes);
    let mut check = Checker {
        mistakes: &mut mistakes,
    };
    let file_key = match action {
        Action::Failover => "password_file",
        Action::Floating | Action::Alias => "token_file",
    };
    // Beside an inline secret, nobody knows which one is meant.
    let file = keys.remove(file_key).filter(|_| keys.secret.is_none());
    let file = check.optional(file_key, file, values::path);
    let bundle = check.optional("ca_file", keys.remove("ca_file"), values::path);
    Needs {
        secret: file.map(|file| SecretSource {
            key: file_key,
            place: SecretPlace::File(file),
        }),
        trust: Trust::of(keys.ssl_no_verify, bundle),
        alarm: keys.remove("alarm").filter(|alarm| !alarm.is_empty()),
        ip: keys
            .remove("ip")
            .and_then(|ip| std::str::from_utf8(&ip).ok()?.trim().parse().ok()),
    }
}

/// The keys whose values contain this text.
pub fn keys_with(action: Action, argument: &[u8], text: &[u8]) -> Vec<&'static str> {
    let items = keyval::parse(argument).into_iter();
    let found = items.filter(|item| {
        let value = item.value.as_deref().unwrap_or_default();
        value.windows(text.len()).any(|part| part == text)
    });
    found
        .filter_map(|item| keys::name(action, &item.key))
        .collect()
}

/// The orders of the action with this name; none if it moves no address, or there is a mistake in it.
pub fn of_action(name: &str, argument: &[u8]) -> Vec<Order> {
    let orders = Action::parse(name).and_then(|action| parse(action, argument).ok());
    orders.unwrap_or_default()
}

impl Order {
    /// The password or the token.
    pub fn secret(&self) -> &SecretSource {
        match &self.service {
            Service::Robot(robot) => &robot.password,
            Service::Cloud(cloud) => &cloud.token,
        }
    }

    /// The webservice: where requests go to.
    pub fn url(&self) -> &Url {
        match &self.service {
            Service::Robot(robot) => &robot.url,
            Service::Cloud(cloud) => &cloud.endpoint,
        }
    }

    /// The key that the URL is, or would be, the value of.
    pub fn url_key(&self) -> &'static str {
        match &self.service {
            Service::Robot(_) => "url",
            Service::Cloud(_) => "endpoint",
        }
    }

    /// The address, if it is one of a private Network.
    pub fn alias_ip(&self) -> Option<Ipv4Addr> {
        match (self.action, self.ip) {
            (Action::Alias, IpAddr::V4(ip)) => Some(ip),
            (Action::Alias | Action::Floating | Action::Failover, _) => None,
        }
    }

    /// The server that is to receive the address, in words.
    pub fn server(&self) -> String {
        match &self.service {
            Service::Robot(robot) => robot.active_ip.to_string(),
            Service::Cloud(Cloud { server: None, .. }) => "this server".into(),
            Service::Cloud(Cloud {
                server: Some(server),
                ..
            }) => format!("server {server}"),
        }
    }

    /// Whom the webservice counts requests for. Two orders of one account are equal in it.
    pub fn account(&self) -> String {
        let authority = self.url().as_uri().authority();
        let authority = authority.map_or("", |authority| authority.as_str());
        let user = match &self.service {
            Service::Robot(robot) => String::from_utf8_lossy(&robot.username).into_owned(),
            // Two tokens may be of one project.
            Service::Cloud(_) => String::new(),
        };
        format!("{authority} {user}")
    }

    /// What is moved, as the webservice tells its addresses apart.
    pub fn resource(&self) -> String {
        match &self.service {
            Service::Robot(robot) => robot.url.as_uri().to_string(),
            Service::Cloud(cloud) => {
                let network = cloud.network.as_ref().map(ToString::to_string);
                let network = network.unwrap_or_default();
                format!("{} {network} {}", cloud.endpoint.as_uri(), self.ip)
            }
        }
    }

    /// Whether two orders are about the same address, or route it to different servers. Two webservices of
    /// one's own may each know an address of that name, and so may two Networks.
    pub fn contradicts(&self, other: &Order) -> bool {
        let is_same_resource = match (&self.service, &other.service) {
            (Service::Cloud(one), Service::Cloud(two)) => {
                let is_elsewhere = one
                    .network
                    .as_ref()
                    .zip(two.network.as_ref())
                    .is_some_and(|(one, two)| one != two);
                one.endpoint == two.endpoint && !is_elsewhere
            }
            _ => self.resource() == other.resource(),
        };
        self.ip == other.ip && (is_same_resource || self.server() != other.server())
    }

    /// What is allowed but dangerous or useless, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.warning.iter().cloned().collect();
        let secret = self.secret();
        let username: &[u8] = match &self.service {
            Service::Robot(robot) => &robot.username,
            Service::Cloud(_) => &[],
        };
        for (key, is_quoted) in [
            ("username", values::is_quoted(username)),
            (secret.key, secret.is_quoted()),
        ] {
            if is_quoted {
                warnings.push(format!(
                    "{key} is in quotes, which uWSGI does not remove: the webservice gets them, too"
                ));
            }
        }
        if self.trust == Trust::Anyone && self.has_ca_file {
            warnings.push("ca_file is ignored because ssl_no_verify is on".into());
        }
        let what = match &self.service {
            Service::Robot(_) => "password",
            Service::Cloud(_) => "token",
        };
        let url = self.url();
        if self.trust == Trust::Anyone && url.is_https() {
            warnings.push(format!(
                "ssl_no_verify is on: anyone impersonating the webservice can obtain the {what}"
            ));
        }
        if !url.is_https() && !url.is_loopback() {
            warnings.push(format!(
                "{} is http://, so the {what} crosses the network to {} unencrypted: use https://",
                self.url_key(),
                url.host()
            ));
        }
        warnings
    }

    /// The one order of a `hetzner-failoverip` with one address.
    #[cfg(test)]
    pub fn parse(argument: &[u8]) -> Result<Order, Vec<Mistake>> {
        let mut orders = parse(Action::Failover, argument)?;
        assert_eq!(orders.len(), 1);
        Ok(orders.remove(0))
    }

    #[cfg(test)]
    pub fn robot(&self) -> &Robot {
        match &self.service {
            Service::Robot(robot) => robot,
            Service::Cloud(_) => panic!("a Cloud address"),
        }
    }
}
