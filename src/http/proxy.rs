//! The proxy that the environment names, chosen as curl chooses it.
//!
//! Source: curl's manual, "ENVIRONMENT", `--noproxy` and `--proxy`. Lower case comes first, and an
//! empty variable counts as unset. A proxy without a scheme speaks HTTP; without a port it is on
//! 1080, or on 443 if it speaks HTTPS. Requests are tunnelled through it with `CONNECT`, so that it
//! sees neither the password nor the request. It is not used for `http://`, because it would see both.

use std::net::IpAddr;

use thiserror::Error;
use ureq::ProxyProtocol;

use crate::order::Url;

/// A proxy that the environment names and that cannot be used.
#[derive(Debug, Error)]
pub enum ProxyError {
    #[error("{0} in the environment is not a proxy URL of the form http://host:port")]
    NotAUrl(&'static str),
    #[error(
        "{0} in the environment names a SOCKS proxy, which is not supported: use an HTTP proxy, \
         or add the webservice's host to NO_PROXY"
    )]
    Socks(&'static str),
}

/// The proxy for this URL, if there is one.
///
/// # Errors
/// The environment names one that cannot be used.
pub fn for_url(url: &Url) -> Result<Option<ureq::Proxy>, ProxyError> {
    choose(url, &|name| {
        let value = std::env::var_os(name)?;
        Some(value.to_string_lossy().into_owned())
    })
}

fn choose(
    url: &Url,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<ureq::Proxy>, ProxyError> {
    let first = |names: &[&'static str]| {
        names.iter().find_map(|name| {
            let value = environment(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        })
    };
    let named = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
    let Some((name, value)) = named.filter(|_| url.is_https()) else {
        return Ok(None);
    };
    let exceptions = first(&["no_proxy", "NO_PROXY"]);
    if exceptions.is_some_and(|(_, exceptions)| is_excepted(url.host(), &exceptions)) {
        return Ok(None);
    }
    let proxy = complete(&value)
        .and_then(|url| ureq::Proxy::new(&url).ok())
        .ok_or(ProxyError::NotAUrl(name))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(Some(proxy)),
        _ => Err(ProxyError::Socks(name)),
    }
}

/// A proxy's URL with everything that may be omitted, and without a path, which has no meaning.
fn complete(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() {
        return None;
    }
    // An IPv6 address contains colons, in brackets.
    let has_port = host.rsplit(']').next().unwrap_or_default().contains(':');
    let port = match (has_port, scheme.to_ascii_lowercase().as_str()) {
        (true, _) => "",
        (false, "https") => ":443",
        (false, _) => ":1080",
    };
    Some(format!("{scheme}://{authority}{port}"))
}

/// Whether a list such as `example.com,.example.org,10.0.0.0/8` contains a host. A name stands for
/// itself and its subdomains, and a list that is `*` contains every host.
fn is_excepted(host: &str, exceptions: &str) -> bool {
    if exceptions == "*" {
        return true;
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    exceptions
        .split([',', ' ', '\t'])
        .filter(|exception| !exception.is_empty())
        .any(|exception| match host.parse::<IpAddr>() {
            Ok(address) => covers_address(exception, address),
            Err(_) => covers_name(exception, &host),
        })
}

fn covers_name(exception: &str, host: &str) -> bool {
    let exception = exception.trim_matches('.').to_ascii_lowercase();
    host.strip_suffix(&exception)
        .is_some_and(|above| !exception.is_empty() && (above.is_empty() || above.ends_with('.')))
}

/// An exception without a prefix, or with 0, is a single address.
fn covers_address(exception: &str, address: IpAddr) -> bool {
    let (network, prefix) = match exception.split_once('/') {
        Some((network, prefix)) => (network, prefix.parse().ok()),
        None => (exception, Some(0)),
    };
    match (network.parse(), address, prefix) {
        (Ok(network), address, Some(0)) => address == network,
        (Ok(IpAddr::V4(network)), IpAddr::V4(address), Some(prefix @ 1..=32)) => {
            (u32::from(network) ^ u32::from(address)) >> (32 - prefix) == 0
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address), Some(prefix @ 1..=128)) => {
            (u128::from(network) ^ u128::from(address)) >> (128 - prefix) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROBOT: &str = "https://robot-ws.your-server.de/failover/4.4.4.4";

    fn chosen(url: &str, environment: &[(&str, &str)]) -> Result<Option<String>, String> {
        let url = Url::parse(url.as_bytes()).unwrap();
        let look_up = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_string())
        };
        choose(&url, &look_up)
            .map(|proxy| proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lower_case_comes_first_and_all_proxy_last() {
        let all = ("ALL_PROXY", "http://all:1");
        let upper = ("HTTPS_PROXY", "http://upper:2");
        let lower = ("https_proxy", "lower:3");
        assert_eq!(chosen(ROBOT, &[]), Ok(None));
        assert_eq!(chosen(ROBOT, &[all]), Ok(Some("all:1".into())));
        assert_eq!(chosen(ROBOT, &[all, upper]), Ok(Some("upper:2".into())));
        assert_eq!(
            chosen(ROBOT, &[all, upper, lower]),
            Ok(Some("lower:3".into()))
        );
        let empty = ("https_proxy", "");
        assert_eq!(chosen(ROBOT, &[upper, empty]), Ok(Some("upper:2".into())));
        assert_eq!(chosen(ROBOT, &[empty, ("all_proxy", "")]), Ok(None));
        assert_eq!(chosen(ROBOT, &[("HTTP_PROXY", "http://no:4")]), Ok(None));
    }

    #[test]
    fn a_proxy_has_the_defaults_of_curl() {
        for (given, used) in [
            ("http://proxy", "proxy:1080"),
            ("proxy", "proxy:1080"),
            ("proxy:3128/", "proxy:3128"),
            ("https://proxy/", "proxy:443"),
            ("http://user:p%40ss@proxy", "proxy:1080"),
            ("http://user@proxy:8080/path", "proxy:8080"),
            ("http://[2a01::5]", "[2a01::5]:1080"),
            ("[2a01::5]:3128", "[2a01::5]:3128"),
        ] {
            let found = chosen(ROBOT, &[("HTTPS_PROXY", given)]);
            assert_eq!(found, Ok(Some(used.into())), "{given}");
        }
    }

    #[test]
    fn long_values_are_read_to_their_end() {
        let proxy = ("ALL_PROXY", "http://all:1");
        let exceptions = "x.example,".repeat(50) + "your-server.de";
        assert_eq!(chosen(ROBOT, &[proxy, ("no_proxy", &exceptions)]), Ok(None));
        let long = format!("http://user:{}@proxy:3128", "x".repeat(300));
        let found = chosen(ROBOT, &[("HTTPS_PROXY", &long)]);
        assert_eq!(found, Ok(Some("proxy:3128".into())));
    }

    #[test]
    fn http_does_not_use_a_proxy() {
        let all = ("ALL_PROXY", "http://all:1");
        assert_eq!(chosen("http://robot.example/", &[all]), Ok(None));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error() {
        let socks = chosen(ROBOT, &[("ALL_PROXY", "socks5://s3cret:s3cret@all:1")]).unwrap_err();
        assert!(
            socks.contains("ALL_PROXY") && socks.contains("SOCKS"),
            "{socks}"
        );
        let bad = chosen(ROBOT, &[("HTTPS_PROXY", "http://s3cret@")]).unwrap_err();
        assert!(
            bad.contains("HTTPS_PROXY") && !bad.contains("s3cret"),
            "{bad}"
        );
    }

    #[test]
    fn exceptions_are_names_with_their_subdomains_and_networks() {
        for (exceptions, excepted) in [
            ("robot-ws.your-server.de", true),
            ("your-server.de", true),
            (".your-server.de", true),
            ("other.example, YOUR-SERVER.DE", true),
            ("*", true),
            ("ws.your-server.de", false),
            ("server.de", false),
            ("", false),
            (".", false),
        ] {
            let result = is_excepted("robot-ws.your-server.de", exceptions);
            assert_eq!(result, excepted, "{exceptions}");
        }
        for (host, exceptions, excepted) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("10.1.2.3", "10.1.2.3/33", false),
            // As in curl, a prefix of 0 makes no network: the address itself must match.
            ("10.1.2.3", "0.0.0.0/0", false),
            ("10.1.2.3", "10.1.2.3/0", true),
            ("10.1.2.3", "2.3", false),
            ("::1", "::1", true),
            ("::1", "[::1]", false),
            ("::1", "x,*", false),
            ("2a01::5", "2a01::/16", true),
            ("2b01::5", "2a01::/16", false),
        ] {
            assert_eq!(
                is_excepted(host, exceptions),
                excepted,
                "{host} {exceptions}"
            );
        }
    }
}
