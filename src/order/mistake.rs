//! What can be wrong with an action's argument, in words.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::secret::{FileError, whose_rights};
use crate::text::printable_path;

/// One mistake: the key, and what is wrong with it. It never shows a value of `password`.
#[derive(Debug, Error)]
#[error("{key}: {reason}")]
pub struct Mistake {
    /// The key, by its first name.
    pub key: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a key.
#[derive(Debug, Error)]
pub enum Reason {
    #[error(
        "unknown key; known are username, password, password_file, ip, active_ip, url, timeout, \
         deadline, watch, watch_action, alarm, connect, ssl_no_verify, ca_file (write a comma within a \
         value as \\,)"
    )]
    Unknown,
    #[error(
        "unknown key; not shown, as it may be the password, or a piece of it: write key=value, and \
         a comma within a value as \\,"
    )]
    UnknownAndHidden,
    #[error(
        "unknown key; known are url, status, host, interval, timeout, fall, rise, ca_file, \
         ssl_no_verify"
    )]
    UnknownHealthKey,
    #[error(
        "`{0}` is not a url of the form http://host/path, https://host/path, tcp://host:port or \
         unix:///path"
    )]
    NotAHealthUrl(String),
    #[error("`{0}` is not a list of statuses from 100 to 599, as in `200-399` or `200 204`")]
    NotStatuses(String),
    #[error("`{0}` is not a host name")]
    NotAHost(String),
    #[error("`{0}` is not a whole number from {1} to {2}")]
    NotANumber(String, u64, u64),
    #[error("is required and not given")]
    Missing,
    #[error("is required: write password=... or password_file=/path/to/file")]
    NoPassword,
    #[error("is empty: give it a value, or leave it out where it has a default")]
    Empty,
    #[error("has no value: write it as key=value")]
    NoValue,
    #[error("password and password_file are both given: keep one of them")]
    TwoPasswords,
    #[error("holds a colon, which HTTP's Basic authentication cannot carry")]
    ColonInUsername,
    #[error("`{0}` is not an IP address (no blanks, no name, no port)")]
    NotAnAddress(String),
    #[error("`{0}` has a prefix length: write the address alone")]
    PrefixLength(String),
    #[error(
        "`{0}` is not the network address of an IPv6 subnet: its last 64 bits must be zero, \
         as in 2a01:4f8:fff1::"
    )]
    NotANetwork(IpAddr),
    #[error("{active_ip} is not of the same family as ip, {ip}: both must be IPv4, or both IPv6")]
    OtherFamily { ip: IpAddr, active_ip: IpAddr },
    #[error("{0} is the failover IP itself: it must be the main IP of this server")]
    SameAddress(IpAddr),
    #[error("`{0}` is not a url of the form https://host[:port]/path")]
    NotAUrl(String),
    #[error("must begin with https:// (or http://)")]
    Scheme,
    #[error("holds a username or a password: they belong in username= and password=")]
    CredentialsInUrl,
    #[error("holds a fragment (#...), which is never sent: leave it out")]
    FragmentInUrl,
    #[error("`{0}` is not one of {1}")]
    NotOneOf(String, &'static str),
    #[error("there is no alarm `{0}` in this configuration; define one with `alarm = {0} cmd:...`")]
    NoSuchAlarm(String),
    #[error("`{0}` is neither 0 nor a whole number of seconds from {1} to {2}")]
    NotAWatch(String, u64, u64),
    #[error(
        "{0} is not a public address: a failover IP and the main IP of a server are always public"
    )]
    NotPublic(IpAddr),
    #[error("{family} excludes {host}, the host of url")]
    FamilyOfUrl { family: &'static str, host: IpAddr },
    #[error("`{0}` is not a whole number of seconds from {1} to {2}")]
    NotSeconds(String, u64, u64),
    #[error("{0}")]
    PasswordFile(#[from] FileError),
    #[error("{} cannot be read: {error}{}", printable_path(.path), whose_rights(.error))]
    CaUnreadable { path: PathBuf, error: io::Error },
    #[error(
        "{} holds no certificate that can be used: it must be a PEM bundle",
        printable_path(.0)
    )]
    CaEmpty(PathBuf),
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
