//! The server's TLS: a CA created at start, and a certificate signed by it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};

use super::listen::{Certificate, Ciphers, Listen, TlsVersions};

/// The webservice's own name, for a network of a test's own in which it leads to the mock.
const REAL_NAME: &str = "robot-ws.your-server.de";

/// A server's TLS configuration, and the CA for its clients to trust.
pub(super) struct Identity {
    pub(super) config: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// `name` is the service's.
    pub(super) fn new(name: &str, listen: &Listen) -> io::Result<Identity> {
        let name = format!("mock {name}");
        let trusted = authority(&format!("{name} CA")).map_err(io::Error::other)?;
        let signer = match listen.certificate {
            Certificate::Valid
            | Certificate::Expired
            | Certificate::NotYetValid
            | Certificate::WrongName => None,
            Certificate::UnknownCa => Some(authority("unknown CA").map_err(io::Error::other)?),
        };
        let (certificate, key) = leaf(
            &name,
            listen.certificate,
            listen.address.ip(),
            signer.as_ref().unwrap_or(&trusted),
        )
        .map_err(io::Error::other)?;
        let versions: &[&'static rustls::SupportedProtocolVersion] = match listen.tls {
            TlsVersions::Any => &[&TLS13, &TLS12],
            TlsVersions::Only12 => &[&TLS12],
            TlsVersions::Only13 => &[&TLS13],
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut provider = ring::default_provider();
        match listen.ciphers {
            Ciphers::Any => {}
            Ciphers::OnlyChaCha20 => provider
                .cipher_suites
                .retain(|suite| format!("{:?}", suite.suite()).contains("CHACHA20")),
        }
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(io::Error::other)?;
        Ok(Identity {
            config: Arc::new(config),
            ca_pem: trusted.certificate.pem(),
        })
    }
}

fn authority(name: &str) -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Authority { certificate, key })
}

fn leaf(
    name: &str,
    kind: Certificate,
    address: IpAddr,
    signer: &Authority,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let (first_year, last_year) = match kind {
        Certificate::Valid | Certificate::UnknownCa | Certificate::WrongName => (2019, 2099),
        Certificate::Expired => (2019, 2020),
        Certificate::NotYetValid => (2098, 2099),
    };
    let names: &[&str] = match kind {
        Certificate::WrongName => &["other.example"],
        Certificate::Valid
        | Certificate::Expired
        | Certificate::NotYetValid
        | Certificate::UnknownCa => &["localhost", "127.0.0.1", "::1", REAL_NAME],
    };
    let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    if kind != Certificate::WrongName && !address.is_loopback() {
        names.push(address.to_string());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(first_year, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &signer.certificate, &signer.key)?;
    Ok((certificate, key))
}
