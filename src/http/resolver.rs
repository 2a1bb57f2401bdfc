//! Name resolution that cannot delay a takeover.
//!
//! The C library's lookup has no time limit of ours, so it runs on a thread of its own. If it is
//! still running when its time is over, the next attempt waits for the same lookup again.
//!
//! ureq's own resolver would not do: it starts another thread for every attempt, so that hanging
//! lookups pile up, and a lookup that takes the C library more than 5 s, because the first name
//! server is dead, would start over each time and never succeed with a `timeout` below that.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use crate::order::Family;

/// The most addresses that are tried: what ureq has room for.
const MAX_ADDRESSES: usize = 16;

/// A lookup that has not ended yet.
struct Lookup {
    host_and_port: String,
    result: Receiver<io::Result<Vec<SocketAddr>>>,
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
        let host_and_port = uri
            .scheme()
            .zip(uri.authority())
            .and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority))
            .ok_or(Error::HostNotFound)?;
        let found = self.look_up(host_and_port, *timeout.after)?;
        let usable = found
            .into_iter()
            .filter(|address| self.family.has(address.ip()));
        let mut addresses = self.empty();
        for address in usable.take(MAX_ADDRESSES) {
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
    /// Returns addresses of this family only.
    pub fn new(family: Family) -> PatientResolver {
        PatientResolver {
            family,
            ..PatientResolver::default()
        }
    }

    /// Looks up the addresses of `host:port`.
    ///
    /// # Errors
    /// No address is found, or the lookup takes longer than `within`.
    pub fn look_up(
        &self,
        host_and_port: String,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, Error> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = match running.take() {
            Some(lookup) if lookup.host_and_port == host_and_port => lookup,
            Some(_) | None => Lookup::start(host_and_port)?,
        };
        match lookup.result.recv_timeout(within) {
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
    fn start(host_and_port: String) -> io::Result<Lookup> {
        let (sender, result) = mpsc::channel();
        let name = host_and_port.clone();
        thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                let found = name.to_socket_addrs();
                // The receiver is gone if the takeover was given up; ignore that.
                let _ = sender.send(found.map(Iterator::collect));
            })?;
        Ok(Lookup {
            host_and_port,
            result,
        })
    }
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
    fn only_addresses_of_the_family_are_used() {
        let found = |family, url| resolve(&PatientResolver::new(family), url);
        assert!(found(Family::Ipv4, "https://127.0.0.1/").is_ok());
        let error = found(Family::Ipv6, "https://127.0.0.1/").unwrap_err();
        assert!(error.to_string().contains("no IPv6 address"), "{error}");
    }

    #[test]
    fn a_hanging_lookup_is_waited_for_again() {
        let resolver = PatientResolver::default();
        let (sender, result) = mpsc::channel();
        *resolver.running.lock().unwrap() = Some(Lookup {
            host_and_port: "slow.example:443".into(),
            result,
        });
        let first = resolver.look_up("slow.example:443".into(), Duration::from_millis(1));
        assert!(matches!(first, Err(Error::Timeout(Timeout::Resolve))));
        let address: SocketAddr = "127.0.0.1:443".parse().unwrap();
        sender.send(Ok(vec![address])).unwrap();
        assert_eq!(
            resolve(&resolver, "https://slow.example/").unwrap(),
            [address]
        );
    }
}
