//! `hetzner-floatingip` and `hetzner-aliasip`: addresses of Cloud servers, by the Cloud API.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::check::{Checker, Defaults};
use super::keys::RawKeys;
use super::values::{address, is_private, is_public, is_shared, subnet};
use super::{Action, Mistake, Order, Reason, SecretSource, Service, Url};
use crate::text::printable;

/// The base URL of Hetzner's Cloud API.
const ENDPOINT: &[u8] = b"https://api.hetzner.cloud/v1";
/// How an IPv6 Floating IP may be written.
const PREFIX: &[u8] = b"/64";

const DEFAULTS: Defaults = Defaults {
    timeout: Duration::from_secs(10),
    deadline: Duration::from_secs(120),
    watch: Duration::from_secs(60),
    min_watch: 10,
};

/// The Cloud API, and the server that is to receive the address.
#[derive(Debug)]
pub struct Cloud {
    pub token: SecretSource,
    /// This server; `None`: the metadata service tells.
    pub server: Option<Named>,
    /// The Network of an alias IP; `None`: the attached one that contains the address.
    pub network: Option<Named>,
    /// The API's base URL, without a slash at its end.
    pub endpoint: Url,
}

/// A resource of the Cloud, by its id or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Id(u64),
    Name(String),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Id(id) => id.fmt(f),
            Named::Name(name) => f.write_str(&printable(name.as_bytes())),
        }
    }
}

/// The orders, if all required values are valid. Whatever is not valid is added to the mistakes.
pub fn validate(
    action: Action,
    mut keys: RawKeys,
    mistakes: &mut Vec<Mistake>,
) -> Option<Vec<Order>> {
    let mut check = Checker { mistakes };
    let token = check.secret("token", "token_file", &mut keys, token);
    let ips = check.addresses("ip", keys.remove("ip"), |text| match action {
        Action::Alias => alias_ip(text),
        Action::Floating | Action::Failover => floating_ip(text),
    });
    let server_given = keys.has("server");
    let server = check.optional("server", keys.remove("server"), named);
    let network_given = keys.has("network");
    let network = check.optional("network", keys.remove("network"), named);
    let endpoint = keys.remove("endpoint");
    let endpoint = check.optional(
        "endpoint",
        Some(endpoint.unwrap_or_else(|| ENDPOINT.to_vec())),
        base,
    );
    let mut common = check.common(&mut keys, &DEFAULTS);
    let endpoint = endpoint?;
    check.family(&common, "endpoint", &endpoint);
    // What was given and is not valid must not look as if it was not given.
    if server_given != server.is_some() || network_given != network.is_some() {
        return None;
    }
    let token = token?;
    let ips = ips?;
    if action == Action::Alias {
        common.warn_of_turns(ips.len());
    }
    let orders = ips.into_iter().map(|ip| {
        let cloud = Cloud {
            token: token.clone(),
            server: server.clone(),
            network: network.clone(),
            endpoint: endpoint.clone(),
        };
        common.order(action, ip, Service::Cloud(cloud))
    });
    Some(orders.collect())
}

/// A token is sent as it is in a header.
pub(super) fn token(value: &[u8]) -> Result<(), Reason> {
    match value.iter().all(u8::is_ascii_graphic) {
        true => Ok(()),
        false => Err(Reason::TokenCharacter),
    }
}

fn floating_ip(text: &[u8]) -> Result<IpAddr, Reason> {
    let bare = text.strip_suffix(PREFIX);
    let ip = subnet(bare.filter(|bare| bare.contains(&b':')).unwrap_or(text))?;
    match is_public(ip) {
        true => Ok(ip),
        // Private Networks are IPv4.
        false if is_private(ip) && ip.is_ipv4() => Err(Reason::NotFloating(ip)),
        false if is_private(ip) || is_shared(ip) => Err(Reason::NotAPublicFloating(ip)),
        false => Err(Reason::NotRoutable(ip)),
    }
}

fn alias_ip(text: &[u8]) -> Result<IpAddr, Reason> {
    match address(text)? {
        ip if is_public(ip) => Err(Reason::NotAnAlias(ip)),
        ip @ IpAddr::V6(_) => Err(Reason::AliasIpv6(ip)),
        ip if is_private(ip) => Ok(ip),
        ip if is_shared(ip) => Err(Reason::NotInANetwork(ip)),
        ip => Err(Reason::NotRoutable(ip)),
    }
}

/// All digits are an id.
fn named(text: &[u8]) -> Result<Named, Reason> {
    let text = std::str::from_utf8(text).map_err(|_| Reason::NotAName(printable(text)))?;
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text
            .parse()
            .map(Named::Id)
            .map_err(|_| Reason::NotAName(printable(text.as_bytes()))),
        false
            if text
                .bytes()
                .any(|byte| byte.is_ascii_control() || byte == b' ') =>
        {
            Err(Reason::NotAName(printable(text.as_bytes())))
        }
        false => Ok(Named::Name(text.into())),
    }
}

/// A base URL has neither a query nor a slash at its end.
fn base(text: &[u8]) -> Result<Url, Reason> {
    let text = text.trim_ascii_end().strip_suffix(b"/").unwrap_or(text);
    let url = Url::parse(text).map_err(|reason| match reason {
        // These actions have no username and no password.
        Reason::CredentialsInUrl => Reason::CredentialsInEndpoint,
        other => other,
    })?;
    match url.as_uri().query() {
        None => Ok(url),
        Some(_) => Err(Reason::QueryInEndpoint),
    }
}
