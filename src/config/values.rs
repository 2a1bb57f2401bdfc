//! One value each: bytes to what they mean.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Reason;
use crate::secret::Secret;
use crate::text::printable;

pub fn username(value: &[u8]) -> Result<Vec<u8>, Reason> {
    match value.contains(&b':') {
        true => Err(Reason::ColonInUsername),
        false => Ok(value.to_vec()),
    }
}

/// An IPv4 address, or the network address of an IPv6 subnet: the webservice routes IPv6
/// by /64 networks, and names servers by theirs.
pub fn subnet(value: &[u8]) -> Result<IpAddr, Reason> {
    let address: IpAddr = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| match value.contains(&b'/') {
            true => Reason::PrefixLength(printable(value)),
            false => Reason::NotAnAddress(printable(value)),
        })?;
    match address {
        IpAddr::V6(v6) if v6.segments()[4..] != [0; 4] => Err(Reason::NotANetwork(address)),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

pub fn seconds(value: &[u8], least: u64, most: u64) -> Result<Duration, Reason> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (least..=most).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| Reason::NotSeconds(printable(value), least, most))
}

/// A file that holds a usable password now.
pub fn password_file(value: &[u8]) -> Result<PathBuf, Reason> {
    let path = PathBuf::from(OsStr::from_bytes(value));
    Secret::from_file(&path)?;
    Ok(path)
}

/// A file that holds at least one certificate now.
pub fn ca_file(value: &[u8]) -> Result<PathBuf, Reason> {
    let path = PathBuf::from(OsStr::from_bytes(value));
    let content = std::fs::read(&path).map_err(|error| Reason::CaUnreadable {
        path: path.clone(),
        error,
    })?;
    let mut store = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&content).filter_map(Result::ok);
    match store.add_parsable_certificates(certificates) {
        (0, _) => Err(Reason::CaEmpty(path)),
        (_, _) => Ok(path),
    }
}
