//! Name resolution that cannot hold a takeover up.
//!
//! The C library's look-up knows no time limit of ours, so it gets a thread, which is waited
//! for as long as there is time. A look-up that is still running when the next is wanted is
//! waited for again: however long it hangs, there is only one.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use crate::order::Family;

type Found = io::Result<Vec<SocketAddr>>;

/// A look-up that has not ended yet.
struct Lookup {
    host: String,
    port: u16,
    found: Receiver<Found>,
}

/// Looks names up, one at a time.
#[derive(Default)]
pub struct PatientResolver {
    running: Mutex<Option<Lookup>>,
    family: Family,
}

impl Resolver for PatientResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (host, port) = target(uri).ok_or(Error::HostNotFound)?;
        let mut addresses = self.empty();
        let found = self.look_up(&host, port, timeout)?;
        let usable = found
            .into_iter()
            .filter(|found| self.family.has(found.ip()));
        for address in usable.take(16) {
            addresses.push(address);
        }
        match (addresses.is_empty(), self.family) {
            (false, _) => Ok(addresses),
            (true, Family::Any) => Err(Error::HostNotFound),
            (true, family) => Err(Error::Io(io::Error::other(format!(
                "its name has no {family} address, and connect allows no other"
            )))),
        }
    }
}

impl PatientResolver {
    /// Returns addresses of this family alone.
    pub fn new(family: Family) -> PatientResolver {
        PatientResolver {
            family,
            ..PatientResolver::default()
        }
    }

    fn look_up(
        &self,
        host: &str,
        port: u16,
        timeout: NextTimeout,
    ) -> Result<Vec<SocketAddr>, Error> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = match running.take() {
            Some(lookup) if lookup.host == host && lookup.port == port => lookup,
            Some(_) | None => Lookup::start(host, port)?,
        };
        match lookup.found.recv_timeout(*timeout.after) {
            Ok(found) => Ok(found?),
            Err(RecvTimeoutError::Timeout) => {
                *running = Some(lookup);
                Err(Error::Timeout(Timeout::Resolve))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
        }
    }
}

impl Lookup {
    fn start(host: &str, port: u16) -> io::Result<Lookup> {
        let (tell, found) = mpsc::channel();
        let name = host.to_string();
        thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                let found = (name.as_str(), port).to_socket_addrs();
                // If it took too long, nobody listens.
                let _ = tell.send(found.map(Iterator::collect));
            })?;
        Ok(Lookup {
            host: host.into(),
            port,
            found,
        })
    }
}

/// Host and port of a url, the host without the brackets of an IPv6 address.
fn target(uri: &Uri) -> Option<(String, u16)> {
    let host = uri.host()?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let port = uri.port_u16().or(match uri.scheme_str()? {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })?;
    Some((bare.unwrap_or(host).into(), port))
}

impl fmt::Debug for PatientResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientResolver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use ureq::unversioned::transport::time;

    fn within(span: Duration) -> NextTimeout {
        NextTimeout {
            after: time::Duration::Exact(span),
            ..NextTimeout::default()
        }
    }

    fn resolve(resolver: &PatientResolver, url: &str) -> Result<Vec<SocketAddr>, Error> {
        let timeout = within(Duration::from_secs(60));
        let uri: Uri = url.parse().unwrap();
        let found = resolver.resolve(&uri, &Config::default(), timeout);
        found.map(|addresses| addresses.to_vec())
    }

    #[test]
    fn addresses_and_names_are_found_with_their_port() {
        let resolver = PatientResolver::default();
        let found = |url| resolve(&resolver, url).unwrap();
        assert_eq!(
            found("https://127.0.0.1/x"),
            ["127.0.0.1:443".parse().unwrap()]
        );
        assert_eq!(found("http://[::1]:81/"), ["[::1]:81".parse().unwrap()]);
        assert!(
            found("http://localhost/")
                .iter()
                .all(|address| address.port() == 80)
        );
    }

    #[test]
    fn a_lookup_that_hangs_is_waited_for_again() {
        let resolver = PatientResolver::default();
        let (tell, found) = mpsc::channel();
        *resolver.running.lock().unwrap() = Some(Lookup {
            host: "slow.example".into(),
            port: 443,
            found,
        });
        let first = resolver.look_up("slow.example", 443, within(Duration::from_millis(1)));
        assert!(matches!(first, Err(Error::Timeout(Timeout::Resolve))));
        let address: SocketAddr = "127.0.0.1:443".parse().unwrap();
        tell.send(Ok(vec![address])).unwrap();
        assert_eq!(
            resolve(&resolver, "https://slow.example/").unwrap(),
            [address]
        );
    }
}
