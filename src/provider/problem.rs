//! What the problems of all webservices have in common.

use std::fmt;

use ureq::http::Uri;

use crate::text;

/// The code and the message of a webservice's error object, as far as it has them. They have been made
/// printable, and stripped of secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiError {
    pub code: Option<String>,
    pub message: Option<String>,
    /// What is reported as missing or invalid.
    pub fields: Option<String>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, " ({message})")?;
        }
        if let Some(fields) = &self.fields {
            write!(f, " [{fields}]")?;
        }
        Ok(())
    }
}

/// A redirect, which is never followed. It reads as part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The target's host; `None` if there is no usable target.
    host: Option<String>,
    /// What would be sent there: the password or the token.
    secret: &'static str,
}

impl Redirect {
    /// A redirect to `location`. `secret`: what must not be sent there, in a word. `secrets`: what must
    /// not be shown.
    pub fn new(location: Option<&str>, secret: &'static str, secrets: &[&[u8]]) -> Redirect {
        let target = location.unwrap_or_default().parse::<Uri>().ok();
        let host = target.map(|target| match target.host() {
            Some(host) => text::printable_without(host.as_bytes(), secrets),
            None => "the same host".into(),
        });
        Redirect { host, secret }
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Redirect { host, secret } = self;
        match host {
            None => f.write_str("a redirect without a target"),
            Some(host) => write!(
                f,
                "a redirect to {host}; redirects are not followed, because that would send the \
                 {secret} to {host}"
            ),
        }
    }
}
