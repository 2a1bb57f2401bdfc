//! The webservice's URL. It is used unchanged, so it must be right.

use std::net::IpAddr;

use rustls::pki_types::ServerName;
use ureq::http::Uri;

use super::Reason;
use crate::text::printable;

/// The host of Hetzner's own webservice.
const ROBOT_HOST: &str = "robot-ws.your-server.de";

/// A valid `https://` or `http://` URL with a host and without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// # Errors
    /// It is not a URL, has another scheme, or contains credentials or a fragment.
    pub fn parse(text: &[u8]) -> Result<Url, Reason> {
        // First, because other mistakes show the URL.
        let authority = text.splitn(4, |&byte| byte == b'/').nth(2).unwrap_or(text);
        if authority.contains(&b'@') {
            return Err(Reason::CredentialsInUrl);
        }
        if text.contains(&b'#') {
            return Err(Reason::FragmentInUrl);
        }
        let uri = Uri::try_from(text).map_err(|_| not_a_url(text))?;
        match uri.scheme_str() {
            Some("https" | "http") => {}
            Some(_) | None => return Err(Reason::Scheme),
        }
        let url = Url(uri);
        match ServerName::try_from(url.host()) {
            Ok(_) if url.has_usable_port() => Ok(url),
            Ok(_) | Err(_) => Err(not_a_url(text)),
        }
    }

    /// The parser accepts some ports that are not valid.
    fn has_usable_port(&self) -> bool {
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        let port = authority.strip_prefix(self.0.host().unwrap_or_default());
        port == Some("") || self.0.port_u16().is_some_and(|port| port > 0)
    }

    pub fn as_uri(&self) -> &Uri {
        &self.0
    }

    /// The host's name or address, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// Whether the host is not Hetzner's own.
    pub fn is_custom(&self) -> bool {
        !self.host().eq_ignore_ascii_case(ROBOT_HOST)
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Whether the host is this machine: `localhost`, or a loopback address.
    pub fn is_loopback(&self) -> bool {
        match self.host().parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host().eq_ignore_ascii_case("localhost"),
        }
    }
}

/// Text before an `@` may be credentials, wherever it is.
fn not_a_url(text: &[u8]) -> Reason {
    let shown = match text.rsplitn(2, |&byte| byte == b'@').collect::<Vec<_>>()[..] {
        [after, _] => format!("***@{}", printable(after)),
        _ => printable(text),
    };
    Reason::NotAUrl(shown)
}
