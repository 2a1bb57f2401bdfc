//! What it means that no answer came: was the request sent, and was it a certificate?

use std::error::Error;

use rustls::CertificateError;

use super::problem::Problem;
use crate::text;

/// A request that ended without a whole answer.
pub enum Failure {
    /// The certificate does not verify.
    Certificate(Problem),
    /// Nothing of the request went out.
    NotConnected(Problem),
    /// The request, or some of it, went out.
    Unanswered(Problem),
}

impl Failure {
    /// Classifies an error of the HTTP client. `sent`: whether any byte of the request was
    /// handed to an established connection. `host`: who was asked, for the text.
    pub fn new(error: &ureq::Error, sent: bool, host: &str) -> Failure {
        let host = host.to_string();
        // An error may quote what the server sent.
        if let Some(reason) = certificate(error) {
            let reason = text::printable(reason.as_bytes());
            return Failure::Certificate(Problem::Certificate { host, reason });
        }
        let reason = text::printable(reason(error).as_bytes());
        match sent {
            true => Failure::Unanswered(Problem::NoWholeAnswer { host, reason }),
            false => Failure::NotConnected(Problem::NoConnection { host, reason }),
        }
    }
}

fn certificate(error: &ureq::Error) -> Option<String> {
    match tls_error(error)? {
        rustls::Error::InvalidCertificate(invalid) => Some(match invalid {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired (or this machine's clock is wrong)".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet (or this machine's clock is wrong)".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it was made out for another host name; check url".into()
            }
            CertificateError::BadSignature => {
                "its issuer's key is not the one that is trusted; ca_file may be out of date, else \
                 somebody stands in the middle"
                    .into()
            }
            CertificateError::UnknownIssuer => {
                "its issuer is not trusted; an own webservice needs ca_file, else somebody stands \
                 in the middle"
                    .into()
            }
            // Not a variant of its own, but a common mistake.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "it is that of an authority, not of a server: have a server's certificate made by \
                 that authority"
                    .into()
            }
            other => other.to_string(),
        }),
        _ => None,
    }
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => find_tls(error.get_ref()?),
        _ => None,
    }
}

fn find_tls<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a rustls::Error> {
    let mut error: &'a (dyn Error + 'static) = error;
    loop {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        error = error.source()?;
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "its name did not resolve in time".into(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "it did not answer in time".into(),
        ureq::Error::Timeout(_) => "the time for it is over".into(),
        ureq::Error::BodyExceedsLimit(limit) => format!("it is longer than {limit} bytes"),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
