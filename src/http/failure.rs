//! Why there is no complete response: whether the request was sent, and whether the certificate
//! was the reason.

use std::error::Error;

use rustls::CertificateError;

use crate::text;

/// A request without a complete response. The texts have been made printable.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the certificate of {host} does not verify: {reason}")]
    Certificate { host: String, reason: String },
    /// Nothing of the request was sent.
    #[error("no connection to {host}: {reason}")]
    NotConnected { host: String, reason: String },
    /// The request was sent, or some of it.
    #[error("incomplete response from {host}: {reason}")]
    Unanswered { host: String, reason: String },
}

impl RequestError {
    /// Classifies an error of the HTTP client. `sent`: whether any byte of the request was
    /// handed to an open connection. `host`: where it was sent, for the text.
    pub fn new(error: &ureq::Error, sent: bool, host: &str) -> RequestError {
        let host = host.to_string();
        // An error may quote what the server sent.
        let printable = |reason: String| text::printable(reason.as_bytes());
        if let Some(reason) = certificate(error) {
            let reason = printable(reason);
            return RequestError::Certificate { host, reason };
        }
        let reason = printable(reason(error));
        match sent {
            true => RequestError::Unanswered { host, reason },
            false => RequestError::NotConnected { host, reason },
        }
    }
}

/// Why there was no answer, as it may stand in a log line.
pub fn describe(error: &ureq::Error) -> String {
    let reason =
        certificate(error).map(|reason| format!("the certificate does not verify: {reason}"));
    text::printable(reason.unwrap_or_else(|| self::reason(error)).as_bytes())
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
                "it was issued for a different host name; check url or endpoint".into()
            }
            CertificateError::BadSignature => {
                "it was not signed by the trusted issuer's key; ca_file may be out of date, or the \
                 connection may be intercepted"
                    .into()
            }
            CertificateError::UnknownIssuer => {
                "its issuer is not trusted; set ca_file if you run your own endpoint; otherwise \
                 the connection may be intercepted"
                    .into()
            }
            // A common mistake, although it has no variant of its own.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "it is the certificate of an authority, not of a server: install a server \
                 certificate signed by that authority"
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
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "resolving its name timed out".into(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "it did not answer in time".into(),
        ureq::Error::Timeout(_) => "it timed out".into(),
        ureq::Error::BodyExceedsLimit(limit) => format!("it is longer than {limit} bytes"),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
