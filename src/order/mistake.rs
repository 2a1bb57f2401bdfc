//! Mistakes in an action's argument, as sentences.

use std::net::IpAddr;

use thiserror::Error;

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
        "unknown key; the keys are username, password, password_file, ip, active_ip, url, timeout, \
         deadline, watch, watch_action, alarm, connect, ssl_no_verify, ca_file (write a comma in a value \
         as \\,)"
    )]
    Unknown,
    #[error(
        "unknown key, not shown because it may be part of the password: write key=value, and a \
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
    #[error("is required: write password=... or password_file=/path/to/file")]
    NoPassword,
    #[error("is empty: give it a value, or remove the key if it has a default")]
    Empty,
    #[error("has no value: write it as key=value")]
    NoValue,
    #[error("password and password_file are both set: keep one of them")]
    TwoPasswords,
    #[error(
        "contains a control character, such as the end of a line: if it is read from a file, make \
         sure that its lines end with LF alone"
    )]
    ControlCharacter,
    #[error("contains a colon, which HTTP Basic authentication does not allow")]
    ColonInUsername,
    #[error("`{0}` is not an IP address: write it without spaces, a name or a port")]
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
    #[error("`{0}` is not a URL of the form https://host[:port]/path")]
    NotAUrl(String),
    #[error("must begin with https:// (or http://)")]
    Scheme,
    #[error("contains a username or a password: write them as username= and password=")]
    CredentialsInUrl,
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
    #[error("{family} excludes {host}, which is the host in url")]
    FamilyOfUrl { family: &'static str, host: IpAddr },
    #[error("`{0}` is not a whole number of seconds from {1} to {2}")]
    NotSeconds(String, u64, u64),
    #[error("{0}")]
    PasswordFile(#[from] SecretError),
}

impl Mistake {
    pub fn new(key: &str, reason: Reason) -> Mistake {
        Mistake {
            key: key.into(),
            reason,
        }
    }

    pub fn is_unknown_key(&self) -> bool {
        matches!(self.reason, Reason::Unknown)
    }
}
