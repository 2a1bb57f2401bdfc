//! Whose certificates are trusted: those of the system's store or of `ca_file`, or all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::file::{self, FileError};
use crate::order::Trust;
use crate::text::{printable, printable_path};

/// The largest `ca_file`, in bytes. The system's own bundle has a quarter of a MiB.
const MAX_BUNDLE: usize = 1 << 20;

/// The variables that name a store instead of the system's.
const STORE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Why no certificate can be verified.
#[derive(Debug, Error)]
pub enum TrustError {
    #[error("ca_file: {0}")]
    Unreadable(#[from] FileError),
    #[error(
        "ca_file: {} contains no usable certificate: it must be a PEM bundle",
        printable_path(.0)
    )]
    NoCertificate(PathBuf),
    /// A store that the environment names is meant to be trusted alone.
    #[error("{0} in the environment names no usable certificate ({1}): fix or unset it")]
    Store(String, String),
}

/// The TLS configuration for this trust. Without HTTPS no certificate is needed.
///
/// # Errors
/// `ca_file`, or the store that the environment names, cannot be used.
pub fn tls_config(trust: &Trust, is_https: bool) -> Result<TlsConfig, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let builder = match trust {
        Trust::Anyone => builder.disable_verification(true),
        Trust::Bundle(path) => builder.root_certs(roots(&bundle(path)?)),
        // The store is not used, so it may be broken.
        Trust::System if !is_https => builder,
        Trust::System => builder.root_certs(system()?),
    };
    Ok(builder.build())
}

fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let content = file::read(path, MAX_BUNDLE)?;
    let certificates = CertificateDer::pem_slice_iter(&content);
    let certificates: Vec<_> = certificates.filter_map(Result::ok).collect();
    match has_usable(&certificates) {
        true => Ok(certificates),
        false => Err(TrustError::NoCertificate(path.into())),
    }
}

/// The certificates of the system's store, for which the environment may name another; Mozilla's
/// if the system has none.
fn system() -> Result<RootCerts, TrustError> {
    let loaded = rustls_native_certs::load_native_certs();
    let named = named_by();
    if !named.is_empty() && !has_usable(&loaded.certs) {
        let reason = loaded.errors.first().map(ToString::to_string);
        let reason = reason.unwrap_or_else(|| "there is nothing at that path".into());
        let reason = printable(reason.as_bytes());
        return Err(TrustError::Store(named.join(" and "), reason));
    }
    Ok(or_builtin(&loaded.certs))
}

/// Whether any of them can be trusted.
fn has_usable(certificates: &[CertificateDer<'static>]) -> bool {
    certificates
        .iter()
        .any(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
}

/// The variables that name a store. An empty value names a store that does not exist.
fn named_by() -> Vec<&'static str> {
    let variables = STORE_VARIABLES.into_iter();
    let is_set = |variable: &&str| std::env::var_os(variable).is_some();
    variables.filter(is_set).collect()
}

fn or_builtin(found: &[CertificateDer<'static>]) -> RootCerts {
    match found {
        [] => RootCerts::WebPki,
        found => roots(found),
    }
}

fn roots(certificates: &[CertificateDer<'static>]) -> RootCerts {
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
        assert!(matches!(or_builtin(&[]), RootCerts::WebPki));
        let some = [CertificateDer::from(vec![0])];
        assert!(matches!(or_builtin(&some), RootCerts::Specific(_)));
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_is_an_error() {
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "no certificate").unwrap();
        let der = tempfile::NamedTempFile::new().unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(der.path(), broken).unwrap();
        for (path, part) in [
            ("/nonexistent".as_ref(), "cannot be read"),
            ("/dev/zero".as_ref(), "is not a regular file"),
            (text.path(), "contains no usable certificate"),
            (der.path(), "contains no usable certificate"),
        ] {
            let error = tls_config(&Trust::Bundle(path.into()), true).unwrap_err();
            let error = error.to_string();
            let expected = format!("ca_file: {} {part}", path.display());
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_path_is_shown_without_control_characters() {
        let path = "/nonexistent\x1b[2J\n/x".into();
        let error = tls_config(&Trust::Bundle(path), true).unwrap_err();
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
}
