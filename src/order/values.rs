//! The values of single keys, from bytes to types.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Reason;
use crate::text::printable;

pub fn username(value: &[u8]) -> Result<Vec<u8>, Reason> {
    match value.contains(&b':') {
        true => Err(Reason::ColonInUsername),
        false if has_control(value) => Err(Reason::ControlCharacter),
        false => Ok(value.to_vec()),
    }
}

/// Whether a value has a control character, such as the end of a line from a file with CRLF.
pub fn has_control(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_control)
}

/// Whether a value is in quotes.
pub fn is_quoted(value: &[u8]) -> bool {
    matches!(value, [b'"', .., b'"'] | [b'\'', .., b'\''])
}

pub fn address(value: &[u8]) -> Result<IpAddr, Reason> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| match value.contains(&b'/') {
            true => Reason::PrefixLength(printable(value)),
            false => Reason::NotAnAddress(printable(value)),
        })
}

/// An IPv4 address, or the network address of an IPv6 subnet: webservices route IPv6 in /64
/// networks, and Robot names servers by their network.
pub fn subnet(value: &[u8]) -> Result<IpAddr, Reason> {
    let address = address(value)?;
    match address {
        IpAddr::V6(v6) if v6.segments()[4..] != [0; 4] => Err(Reason::NotANetwork(address)),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

/// Whether an address is one of a private Network.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Whether an address is one that providers share between their customers (RFC 6598).
pub fn is_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(_) => false,
    }
}

/// Only a public address can be a failover IP, a Floating IP or the main IP of a server.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_private()
                || is_shared(address)
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unique_local()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast())
        }
    }
}

/// Which addresses of the webservice are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    #[default]
    Any,
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn parse(value: &[u8]) -> Result<Family, Reason> {
        match value {
            b"any" => Ok(Family::Any),
            b"ipv4" => Ok(Family::Ipv4),
            b"ipv6" => Ok(Family::Ipv6),
            _ => Err(Reason::NotOneOf(printable(value), "ipv4, ipv6 or any")),
        }
    }

    pub fn has(self, address: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::Ipv4 => address.is_ipv4(),
            Family::Ipv6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Any => "IP",
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

/// What a Lord does when it finds the address elsewhere and nothing in the legion explains that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WatchAction {
    #[default]
    Warn,
    Retake,
}

impl WatchAction {
    pub fn parse(value: &[u8]) -> Result<WatchAction, Reason> {
        match value {
            b"warn" => Ok(WatchAction::Warn),
            b"retake" => Ok(WatchAction::Retake),
            _ => Err(Reason::NotOneOf(printable(value), "warn or retake")),
        }
    }
}

/// How often a Lord looks; `None` for never.
pub fn watch(value: &[u8], least: u64, most: u64) -> Result<Option<Duration>, Reason> {
    match value {
        b"0" => Ok(None),
        value => seconds(value, least, most)
            .map(Some)
            .map_err(|_| Reason::NotAWatch(printable(value), least, most)),
    }
}

pub fn seconds(value: &[u8], least: u64, most: u64) -> Result<Duration, Reason> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (least..=most).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| Reason::NotSeconds(printable(value), least, most))
}

pub fn path(value: &[u8]) -> Result<PathBuf, Reason> {
    Ok(PathBuf::from(OsStr::from_bytes(value)))
}
