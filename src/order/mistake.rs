//! Mistakes in an action's argument, as sentences.

use std::net::IpAddr;

use thiserror::Error;

use super::{Action, keys};
use crate::secret::SecretError;

/// One mistake: the key, and what is wrong with it. It never shows the password.
#[derive(Debug, Error)]
#[error("{key}: {reason}")]
pub struct Mistake {
    /// The key, not its alias.
    pub key: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a key.
#[derive(Debug, Error)]
pub enum Reason {
    #[error(
        "unknown key; the keys are {} (write a comma in a value as \\,)",
        keys::of(*.0).collect::<Vec<_>>().join(", ")
    )]
    Unknown(Action),
    #[error(
        "unknown key, not shown because it may be part of the password or the token: write key=value, and a \
         comma in a value as \\,"
    )]
    UnknownAndHidden,
    #[error(
        "unknown key; the keys are url, status, host, interval, timeout, fall, rise, ca_file, \
         ssl_no_verify"
    )]
    UnknownHealthKey,
    #[error(
        "`{0}` is not a url of the form http://host/path, https://host/path, tcp://host:port or \
         unix:///path"
    )]
    NotAHealthUrl(String),
    #[error("the path of a socket has at most 107 bytes")]
    SocketPath,
    #[error("`{0}` is not a list of statuses from 100 to 599, such as 200-399 or 200 204")]
    NotStatuses(String),
    #[error("`{0}` is not a host name")]
    NotAHost(String),
    #[error("`{0}` is not a whole number from {1} to {2}")]
    NotANumber(String, u64, u64),
    #[error("is required, but missing")]
    Missing,
    #[error("is required: write {0}=... or {1}=/path/to/file")]
    NoSecret(&'static str, &'static str),
    #[error("is empty: give it a value, or remove the key if it has a default")]
    Empty,
    #[error("has no value: write it as key=value")]
    NoValue,
    #[error("{0} and {1} are both set: keep one of them")]
    TwoSecrets(&'static str, &'static str),
    #[error("contains a character that no token has: only letters, digits and signs are sent")]
    TokenCharacter,
    #[error(
        "contains a control character, such as the end of a line: if it is read from a file, make \
         sure that its lines end with LF alone"
    )]
    ControlCharacter,
    #[error("contains a colon, which HTTP Basic authentication does not allow")]
    ColonInUsername,
    #[error("`{0}` is not an IP address: write it without a name or a port")]
    NotAnAddress(String),
    #[error("`{0}` has a prefix length: write only the address")]
    PrefixLength(String),
    #[error(
        "`{0}` is not the network address of an IPv6 subnet: its last 64 bits must be zero, \
         as in 2a01:4f8:fff1::"
    )]
    NotANetwork(IpAddr),
    #[error("{active_ip} is not of the same family as ip ({ip}): both must be IPv4 or both IPv6")]
    OtherFamily { ip: IpAddr, active_ip: IpAddr },
    #[error("{0} is the failover IP itself: write the main IP of this server")]
    SameAddress(IpAddr),
    #[error(
        "has no address of the family of {0}: write one main IP of this server for each family"
    )]
    NoServer(IpAddr),
    #[error(
        "{second} is of the same family as {first}: write one main IP of this server for each family"
    )]
    SecondServer { first: IpAddr, second: IpAddr },
    #[error("{0} is written twice: remove one of them")]
    Twice(IpAddr),
    #[error("has {1} addresses, but one action moves at most {0}: write a second action")]
    TooManyAddresses(usize, usize),
    #[error(
        "is one URL for several addresses: write {{ip}} where each of them belongs, as in \
         https://host/failover/{{ip}}"
    )]
    OneUrlForAll,
    #[error("{0} is a private address, so it cannot be a Floating IP: hetzner-aliasip moves those")]
    NotFloating(IpAddr),
    #[error("{0} is a public address, so it cannot be an alias IP: hetzner-floatingip moves those")]
    NotAnAlias(IpAddr),
    #[error("{0} is not a public address, so it cannot be a Floating IP")]
    NotAPublicFloating(IpAddr),
    #[error("{0} belongs to no private Network, so it cannot be an alias IP")]
    NotInANetwork(IpAddr),
    #[error("{0} is IPv6, but private Networks and their alias IPs are IPv4")]
    AliasIpv6(IpAddr),
    #[error(
        "{0} is not an address that can be moved: loopback, link-local and the like belong to no server"
    )]
    NotRoutable(IpAddr),
    #[error("`{0}` is neither an id (all digits) nor a name")]
    NotAName(String),
    #[error("contains a query (?...): write the API's base URL alone")]
    QueryInEndpoint,
    #[error("`{0}` is not a URL of the form https://host[:port]/path")]
    NotAUrl(String),
    #[error("must begin with https:// (or http://)")]
    Scheme,
    #[error("contains a username or a password: write them as username= and password=")]
    CredentialsInUrl,
    #[error("contains a username or a password: remove them, and write the token as token_file=")]
    CredentialsInEndpoint,
    #[error("contains a fragment (#...), which is never sent: remove it")]
    FragmentInUrl,
    #[error("`{0}` is not allowed: write {1}")]
    NotOneOf(String, &'static str),
    #[error("there is no alarm `{0}` in this configuration; define one with `alarm = {0} cmd:...`")]
    NoSuchAlarm(String),
    #[error("`{0}` is neither 0 (never) nor a whole number of seconds from {1} to {2}")]
    NotAWatch(String, u64, u64),
    #[error(
        "{0} is not a public address: a failover IP and the main IP of a server are always public"
    )]
    NotPublic(IpAddr),
    #[error("{family} excludes {host}, which is the host in {url_key}")]
    FamilyOfUrl {
        family: &'static str,
        host: IpAddr,
        url_key: &'static str,
    },
    #[error("`{0}` is not a whole number of seconds from {1} to {2}")]
    NotSeconds(String, u64, u64),
    #[error("{0}")]
    SecretFile(#[from] SecretError),
}

impl Mistake {
    pub fn new(key: &str, reason: Reason) -> Mistake {
        Mistake {
            key: key.into(),
            reason,
        }
    }
}
