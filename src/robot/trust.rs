//! Whose certificates are believed: the system's store, a bundle, or everybody's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::{self, Trust};
use crate::text::printable_path;

/// The bundle of `ca_file` cannot be used any more (it could at boot).
#[derive(Debug, Error)]
#[error("ca_file: {path} cannot be used: {1}", path = printable_path(.0))]
pub struct BundleError(PathBuf, String);

/// TLS as the order wants it.
///
/// # Errors
/// The bundle of `ca_file` cannot be read.
pub fn tls_config(trust: &Trust) -> Result<TlsConfig, BundleError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let builder = match trust {
        Trust::Anyone => builder.disable_verification(true),
        Trust::Bundle(path) => builder.root_certs(roots(bundle(path)?)),
        Trust::System => builder.root_certs(system()),
    };
    Ok(builder.build())
}

fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let broken = |reason: String| BundleError(path.into(), reason);
    let certificates = config::read_bundle(path).map_err(|error| broken(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(broken("it holds no certificate".into())),
        false => Ok(certificates),
    }
}

/// The system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), or Mozilla's where
/// the system has none.
fn system() -> RootCerts {
    or_builtin(rustls_native_certs::load_native_certs().certs)
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
