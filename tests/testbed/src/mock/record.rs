//! The requests received, and what happened to them, for a person to follow.

use std::fmt;
use std::time::{Duration, Instant};

use crate::http;

/// A complete request.
#[derive(Debug, Clone)]
pub struct Received {
    /// The number of its connection: 1 is the first one accepted.
    pub connection: usize,
    /// The method, as sent.
    pub method: String,
    /// The path, as sent, with the query if there was one.
    pub path: String,
    /// The headers, as sent and in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When its last byte had been read.
    pub at: Instant,
    /// The status answered; `None` if there is no answer yet, or one without a status. It is set
    /// before the first byte of the answer is sent, so a client that has an answer finds it here.
    pub status: Option<u16>,
}

impl Received {
    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }

    /// User and password, if it has Basic authentication.
    pub fn login(&self) -> Option<(String, String)> {
        http::login(&self.headers)
    }

    /// The token, if it has Bearer authentication.
    pub fn bearer(&self) -> Option<&str> {
        http::bearer(&self.headers)
    }

    /// The body as JSON; `Null` if it is something else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The value of a field of the form; also `None` if the body is not a form.
    pub fn form_field(&self, name: &str) -> Option<String> {
        http::form_field(&self.headers, &self.body, name)
    }
}

/// Something that happened on a connection; its `Display` is a line. It contains no header, so no
/// login and no token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Traffic {
    /// A request is being answered, or meets a fault that does not answer.
    Request {
        /// The connection it came on.
        connection: usize,
        /// Method, path and body.
        text: String,
        /// The status, if there is one.
        status: Option<u16>,
        /// The name of its fault.
        fault: Option<String>,
        /// How long it has taken so far.
        took: Duration,
    },
    /// A TLS handshake failed.
    HandshakeFailed {
        /// The connection.
        connection: usize,
        /// Why.
        reason: String,
    },
    /// A connection meets a fault of its handshake.
    HandshakeFault {
        /// The connection.
        connection: usize,
        /// The name of the fault.
        fault: String,
    },
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traffic::Request {
                connection,
                text,
                status,
                fault,
                took,
            } => {
                write!(f, "{text}: ")?;
                match status {
                    Some(status) => write!(f, "{status}")?,
                    None => write!(f, "no answer")?,
                }
                if let Some(fault) = fault {
                    write!(f, ", fault {fault}")?;
                }
                let took = took.as_secs_f64();
                write!(f, " (connection {connection}, after {took:.1} s)")
            }
            Traffic::HandshakeFailed { connection, reason } => {
                write!(f, "handshake failed: {reason} (connection {connection})")
            }
            Traffic::HandshakeFault { connection, fault } => {
                write!(f, "handshake: fault {fault} (connection {connection})")
            }
        }
    }
}

/// Method, path and body as one line, with control characters escaped.
pub(super) fn one_line(request: &http::Request) -> String {
    let body = String::from_utf8_lossy(&request.body);
    let text = format!("{} {} {body}", request.method, request.path);
    let escaped = text.trim_end().chars().map(|c| match c {
        '"' | '\'' => c.to_string(),
        c => c.escape_debug().to_string(),
    });
    escaped.collect::<String>().chars().take(200).collect()
}
