//! Whose certificates are believed: the system's store, a bundle, or everybody's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::order::{self, Order, Trust};
use crate::text::{printable, printable_path};

/// What names the system's store, if the environment does.
const STORE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Nothing can be verified.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The bundle of `ca_file` cannot be used any more (it could at boot).
    #[error("ca_file: {path} cannot be used: {1}", path = printable_path(.0))]
    Bundle(PathBuf, String),
    /// Whoever names a store wants that one to be trusted, and not whatever there is.
    #[error("{0} in the environment names no certificate that can be used: {1}")]
    Store(String, String),
}

/// TLS as the order wants it.
///
/// # Errors
/// The bundle of `ca_file`, or the store that the environment names, cannot be used.
pub fn tls_config(trust: &Trust) -> Result<TlsConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let builder = match trust {
        Trust::Anyone => builder.disable_verification(true),
        Trust::Bundle(path) => builder.root_certs(roots(bundle(path)?)),
        Trust::System => builder.root_certs(system()?),
    };
    Ok(builder.build())
}

/// Whether the store that the environment names, if it does and if it is needed, can be used.
///
/// # Errors
/// It cannot.
pub fn check_store(order: &Order) -> Result<(), TrustError> {
    match &order.trust {
        Trust::System if order.url.is_https() && !named_by().is_empty() => system().map(|_| ()),
        Trust::System | Trust::Bundle(_) | Trust::Anyone => Ok(()),
    }
}

fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let broken = |reason: String| TrustError::Bundle(path.into(), reason);
    let certificates = order::read_bundle(path).map_err(|error| broken(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(broken("it holds no certificate".into())),
        false => Ok(certificates),
    }
}

/// The system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), or Mozilla's where
/// the system has none.
fn system() -> Result<RootCerts, TrustError> {
    let loaded = rustls_native_certs::load_native_certs();
    let named = named_by();
    if !named.is_empty() && !order::has_usable(loaded.certs.clone()) {
        let reason = loaded.errors.first().map(ToString::to_string);
        let reason = reason.unwrap_or_else(|| "there is none".into());
        let reason = printable(reason.as_bytes());
        return Err(TrustError::Store(named.join(" and "), reason));
    }
    Ok(or_builtin(loaded.certs))
}

/// The variables that name a store; one that is empty names one that is not there.
fn named_by() -> Vec<&'static str> {
    let variables = STORE_VARIABLES.into_iter();
    let is_set = |variable: &&str| std::env::var_os(variable).is_some();
    variables.filter(is_set).collect()
}

fn or_builtin(found: Vec<CertificateDer<'static>>) -> RootCerts {
    match found.is_empty() {
        true => RootCerts::WebPki,
        false => roots(found),
    }
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> RootCerts {
    let roots = certificates
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned());
    RootCerts::Specific(Arc::new(roots.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_a_store_trusts_the_built_in_roots() {
        assert!(matches!(or_builtin(Vec::new()), RootCerts::WebPki));
        let some = vec![CertificateDer::from(vec![0])];
        assert!(matches!(or_builtin(some), RootCerts::Specific(_)));
    }
}
