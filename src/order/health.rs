//! The option `hetzner-health`: a legion's name and a keyval become a validated check.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::check::Checker;
use super::values::{path, seconds};
use super::{Mistake, Reason, Trust, Url, keyval};
use crate::text::printable;

/// `interval` and `timeout` when they are not given.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// `fall` and `rise` when they are not given.
const DEFAULT_FALL: u32 = 3;
const DEFAULT_RISE: u32 = 5;
/// The largest `interval` and `timeout`, in seconds.
const MAX_SECONDS: u64 = 3600;
/// The largest `fall` and `rise`.
const MAX_COUNT: u64 = 1000;

/// The longest path of a socket, in bytes. Source: `sun_path` in unix(7), less its final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// How a node's application is probed.
#[derive(Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub target: HealthTarget,
    /// The url as it was given, for the log.
    pub name: String,
    /// The statuses of a healthy answer, as ranges.
    pub statuses: Vec<(u16, u16)>,
    /// The `Host` header, if it is not the url's host.
    pub host: Option<String>,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many bad probes in a row make it sick.
    pub fall: u32,
    /// So many good probes in a row make it healthy.
    pub rise: u32,
    pub trust: Trust,
}

/// What is probed.
#[derive(Debug, PartialEq, Eq)]
pub enum HealthTarget {
    /// A `GET` is answered with a healthy status.
    Http(Url),
    /// A connection to this host and port is accepted.
    Tcp(String, u16),
    /// A connection to this socket is accepted.
    Unix(PathBuf),
}

/// The keys as they were given, the last of each.
#[derive(Default)]
struct RawHealthKeys {
    url: Option<Vec<u8>>,
    status: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
    interval: Option<Vec<u8>>,
    timeout: Option<Vec<u8>>,
    fall: Option<Vec<u8>>,
    rise: Option<Vec<u8>>,
    ca_file: Option<Vec<u8>>,
    ssl_no_verify: bool,
}

/// Splits an option's value into the legion's name and the rest.
pub fn split_legion(value: &[u8]) -> (String, &[u8]) {
    let value = value.trim_ascii();
    let end = value
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(value.len());
    let (legion, rest) = value.split_at(end);
    (printable(legion), rest.trim_ascii_start())
}

impl HealthCheck {
    pub fn is_https(&self) -> bool {
        match &self.target {
            HealthTarget::Http(url) => url.is_https(),
            HealthTarget::Tcp(..) | HealthTarget::Unix(_) => false,
        }
    }

    /// Parses and validates the keyval after the legion's name.
    ///
    /// # Errors
    /// Every mistake in it, each naming its key.
    pub fn parse(argument: &[u8]) -> Result<HealthCheck, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let raw = RawHealthKeys::collect(argument, &mut mistakes);
        let check = raw.validate(&mut mistakes);
        match check {
            Some(check) if mistakes.is_empty() => Ok(check),
            _ => Err(mistakes),
        }
    }
}

impl RawHealthKeys {
    fn collect(argument: &[u8], mistakes: &mut Vec<Mistake>) -> RawHealthKeys {
        let mut raw = RawHealthKeys::default();
        for keyval::Item { key, value } in keyval::parse(argument) {
            let (name, field) = match key.as_slice() {
                b"url" => ("url", &mut raw.url),
                b"status" => ("status", &mut raw.status),
                b"host" => ("host", &mut raw.host),
                b"interval" => ("interval", &mut raw.interval),
                b"timeout" => ("timeout", &mut raw.timeout),
                b"fall" => ("fall", &mut raw.fall),
                b"rise" => ("rise", &mut raw.rise),
                b"ca_file" => ("ca_file", &mut raw.ca_file),
                b"ssl_no_verify" => {
                    raw.ssl_no_verify = !value.is_some_and(|value| super::keys::is_off(&value));
                    continue;
                }
                _ => {
                    mistakes.push(Mistake::new(&printable(&key), Reason::UnknownHealthKey));
                    continue;
                }
            };
            match value.as_deref() {
                None => mistakes.push(Mistake::new(name, Reason::NoValue)),
                Some([]) => mistakes.push(Mistake::new(name, Reason::Empty)),
                Some(_) => *field = value,
            }
        }
        raw
    }

    fn validate(self, mistakes: &mut Vec<Mistake>) -> Option<HealthCheck> {
        let Some(url) = self.url else {
            if !mistakes.iter().any(|mistake| mistake.key == "url") {
                mistakes.push(Mistake::new("url", Reason::Missing));
            }
            return None;
        };
        let name = printable(&url);
        let mut checker = Checker { mistakes };
        let target = checker.optional("url", Some(url), target);
        let statuses = checker.optional("status", self.status, statuses);
        let host = checker.optional("host", self.host, host);
        let within = |value: &[u8]| seconds(value, 1, MAX_SECONDS);
        let interval = checker.optional("interval", self.interval, within);
        let timeout = checker.optional("timeout", self.timeout, within);
        let fall = checker.optional("fall", self.fall, count);
        let rise = checker.optional("rise", self.rise, count);
        let bundle = checker.optional("ca_file", self.ca_file, path);
        Some(HealthCheck {
            target: target?,
            name,
            statuses: statuses.unwrap_or_else(|| vec![(200, 399)]),
            host,
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            fall: fall.unwrap_or(DEFAULT_FALL),
            rise: rise.unwrap_or(DEFAULT_RISE),
            trust: Trust::of(self.ssl_no_verify, bundle),
        })
    }
}

fn target(url: &[u8]) -> Result<HealthTarget, Reason> {
    let not_a_target = || Reason::NotAHealthUrl(printable(url));
    if let Some(path) = url.strip_prefix(b"unix://") {
        return match path {
            [b'/', ..] if path.len() > MAX_SOCKET_PATH => Err(Reason::SocketPath),
            [b'/', _, ..] => Ok(HealthTarget::Unix(OsStr::from_bytes(path).into())),
            _ => Err(not_a_target()),
        };
    }
    if let Some(rest) = url.strip_prefix(b"tcp://") {
        let uri: ureq::http::Uri = [b"http://", rest]
            .concat()
            .try_into()
            .map_err(|_| not_a_target())?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        return match (uri.host(), uri.port_u16()) {
            (Some(host), Some(port)) if is_bare && !rest.contains(&b'@') && port > 0 => {
                Ok(HealthTarget::Tcp(host.into(), port))
            }
            _ => Err(not_a_target()),
        };
    }
    match Url::parse(url) {
        Err(Reason::Scheme) => Err(not_a_target()),
        url => url.map(HealthTarget::Http),
    }
}

/// One or more statuses or ranges of them, separated by spaces.
fn statuses(value: &[u8]) -> Result<Vec<(u16, u16)>, Reason> {
    let text = String::from_utf8_lossy(value);
    let number = |text: &str| match text.parse() {
        Ok(status @ 100..=599) => Some(status),
        Ok(_) | Err(_) => None,
    };
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(text).map(|status| (status, status)),
    };
    let ranges: Option<Vec<_>> = text.split_whitespace().map(range).collect();
    ranges
        .filter(|ranges| !ranges.is_empty() && ranges.iter().all(|(first, last)| first <= last))
        .ok_or_else(|| Reason::NotStatuses(printable(value)))
}

fn host(value: &[u8]) -> Result<String, Reason> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic();
    match std::str::from_utf8(value) {
        Ok(host) if value.iter().all(is_plain) => Ok(host.into()),
        Ok(_) | Err(_) => Err(Reason::NotAHost(printable(value))),
    }
}

fn count(value: &[u8]) -> Result<u32, Reason> {
    let number = seconds(value, 1, MAX_COUNT)
        .map_err(|_| Reason::NotANumber(printable(value), 1, MAX_COUNT))?;
    Ok(u32::try_from(number.as_secs()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(argument: &str) -> Result<HealthCheck, String> {
        HealthCheck::parse(argument.as_bytes()).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn the_legion_comes_first() {
        let (legion, rest) = split_legion(b" failover  url=http://x/y z ");
        assert_eq!(
            (legion.as_str(), rest),
            ("failover", &b"url=http://x/y z"[..])
        );
        assert_eq!(split_legion(b"failover"), ("failover".into(), &b""[..]));
    }

    #[test]
    fn a_url_alone_has_the_documented_defaults() {
        let check = parse("url=http://127.0.0.1:8080/healthz").unwrap();
        assert_eq!(check.name, "http://127.0.0.1:8080/healthz");
        assert_eq!(check.statuses, [(200, 399)]);
        assert_eq!((check.interval.as_secs(), check.timeout.as_secs()), (2, 2));
        assert_eq!((check.fall, check.rise), (3, 5));
        assert_eq!(check.trust, Trust::System);
    }

    #[test]
    fn all_kinds_of_targets_are_taken() {
        let target = |url: &str| parse(&format!("url={url}")).unwrap().target;
        assert!(matches!(
            target("https://localhost/x"),
            HealthTarget::Http(_)
        ));
        assert_eq!(
            target("tcp://[::1]:25"),
            HealthTarget::Tcp("[::1]".into(), 25)
        );
        assert_eq!(
            target("tcp://db.internal:5432/"),
            HealthTarget::Tcp("db.internal".into(), 5432)
        );
        assert_eq!(
            target("unix:///run/app.sock"),
            HealthTarget::Unix("/run/app.sock".into())
        );
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let lines = parse("url=ftp://x/,status=99,interval=0,timeout=x,fall=0,rise=1001,color=red")
            .unwrap_err();
        for part in [
            "url: `ftp://x/` is not",
            "status: `99`",
            "interval: `0`",
            "timeout: `x`",
            "fall: `0`",
            "rise: `1001`",
            "color: unknown key",
        ] {
            assert!(lines.contains(part), "{part}\n{lines}");
        }
        for (argument, part) in [
            ("", "url: is required"),
            ("url", "url: has no value"),
            ("url=", "url: is empty"),
            ("url=tcp://x", "url: `tcp://x` is not"),
            ("url=tcp://x:0", "url: "),
            ("url=tcp://x:1/path", "url: "),
            ("url=unix://relative", "url: "),
            (
                &format!("url=unix:///{:x<107}", ""),
                "url: the path of a socket",
            ),
            ("url=http://a:b@x/", "url: "),
            ("url=http://x/,status=300-200", "status: "),
            ("url=http://x/,host=a b", "host: "),
        ] {
            let lines = parse(argument).unwrap_err();
            assert!(lines.starts_with(part), "{argument}: {lines}");
            assert_eq!(lines.lines().count(), 1, "{lines}");
        }
    }

    #[test]
    fn statuses_are_numbers_and_ranges() {
        let check = parse("url=http://x/,status=200 204 300-399").unwrap();
        assert_eq!(check.statuses, [(200, 200), (204, 204), (300, 399)]);
    }
}
