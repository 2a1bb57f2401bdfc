//! What can go wrong with the webservice, as a sentence a person can act on.

use thiserror::Error;

/// A problem with the webservice. What a server wrote has been made printable, and stripped
/// of secrets, before it comes in here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    #[error(
        "the webservice refused the login (401): check username and password (they are those of \
         the webservice, not of the Robot's pages); Hetzner blocks this address for 10 minutes \
         after 3 failed logins, so nothing is asked again"
    )]
    Login,
    #[error("the webservice answered {status}{said}{}", hint(.status, .said))]
    Status { status: u16, said: Box<Said> },
    #[error(
        "the webservice's rate limit is reached ({status}{said}: {max_request} requests in \
         {interval} s): until that time is over nothing can be asked of it"
    )]
    RateLimit {
        status: u16,
        said: Box<Said>,
        max_request: String,
        interval: String,
    },
    #[error(
        "the webservice answered {status} and points to {host}: a redirect is never followed, \
         as the password would go there; check url"
    )]
    Redirect { status: u16, host: String },
    #[error(
        "the webservice answered {status}, but its answer is about {named}, not about this \
         failover IP: check url"
    )]
    OtherIp { status: u16, named: String },
    #[error("the webservice answered {0} while the switch was still running")]
    Unfinished(u16),
    #[error("the webservice answered {0} without routing it here")]
    NotRoutedHere(u16),
    #[error("the webservice answered {0} without saying where the failover IP is routed")]
    Unreadable(u16),
    #[error("the certificate of {host} does not verify: {reason}")]
    Certificate { host: String, reason: String },
    #[error("no connection to {host}: {reason}")]
    NoConnection { host: String, reason: String },
    #[error("no whole answer from {host}: {reason}")]
    NoWholeAnswer { host: String, reason: String },
}

/// The code and the message of the webservice's error object, as far as it has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub code: Option<String>,
    pub message: Option<String>,
    /// What `INVALID_INPUT` says is missing or invalid.
    pub fields: Option<String>,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

fn hint(status: &u16, said: &Said) -> &'static str {
    match (status, said.code.as_deref()) {
        (_, Some("NOT_FOUND" | "FAILOVER_NOT_FOUND")) => {
            ": this failover IP is not in this account; check ip, and whose username it is"
        }
        (_, Some("FAILOVER_NEW_SERVER_NOT_FOUND" | "SERVER_NOT_FOUND")) => {
            ": active_ip is no server of this account; check active_ip"
        }
        (_, Some("INVALID_INPUT")) => ": check ip and active_ip",
        (403, _) => {
            ": this account, or this address, may not do that; check the webservice's settings"
        }
        (404 | 405, None) => ": check url",
        _ => "",
    }
}
