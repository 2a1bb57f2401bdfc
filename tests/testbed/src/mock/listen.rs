//! How a mock service listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How a mock service listens.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// With TLS or without.
    pub scheme: Scheme,
    /// The certificate.
    pub certificate: Certificate,
    /// The TLS versions it speaks.
    pub tls: TlsVersions,
    /// The ciphers it accepts.
    pub ciphers: Ciphers,
    /// Where to write the CA's certificate (PEM), if not in a temporary directory.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may stay idle, between two requests or within one.
    pub idle: Duration,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            scheme: Scheme::Https,
            certificate: Certificate::Valid,
            tls: TlsVersions::Any,
            ciphers: Ciphers::Any,
            ca_file: None,
            idle: Duration::from_secs(60),
        }
    }
}

/// The protocol of a mock service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without.
    Http,
}

/// The server's certificate. All but [`UnknownCa`](Certificate::UnknownCa) are signed by the CA of
/// [`Server::ca_file`](super::Server::ca_file).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Valid, for `localhost`, `127.0.0.1` and `::1`, and the address it listens on.
    Valid,
    /// For the same names, but only until 2020.
    Expired,
    /// For the same names, but only from 2098 on.
    NotYetValid,
    /// For `other.example`.
    WrongName,
    /// For the same names, but signed by another CA.
    UnknownCa,
}

/// The TLS versions that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    Any,
    /// Only 1.2.
    Only12,
    /// Only 1.3.
    Only13,
}

/// The ciphers that the server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ciphers {
    /// All that it knows.
    Any,
    /// Only ChaCha20-Poly1305.
    OnlyChaCha20,
}
