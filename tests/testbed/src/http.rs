//! HTTP/1.1, as much of it as the servers here need.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Limits of a request.
const MAX_HEAD: usize = 32 * 1024;
const MAX_BODY: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection is to stay open after the answer.
    pub(crate) keep_alive: bool,
}

/// Why no request could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The connection ended or failed.
    Io,
    /// The request is not supported; the status to answer.
    Refused(u16),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> ReadError {
        ReadError::Io
    }
}

/// The value of the first header of that name, in any case.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// User and password of a `Basic` authorization.
pub(crate) fn login(headers: &[(String, String)]) -> Option<(String, String)> {
    let (scheme, token) = header(headers, "authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(token.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The token of a `Bearer` authorization.
pub(crate) fn bearer(headers: &[(String, String)]) -> Option<&str> {
    let (scheme, token) = header(headers, "authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The value of a field of a form; also `None` if the body is not a form.
pub(crate) fn form_field(headers: &[(String, String)], body: &[u8], name: &str) -> Option<String> {
    let kind = header(headers, "content-type")?.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    form_urlencoded::parse(body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Reads the requests of one connection, one after the other.
#[derive(Default)]
pub(crate) struct Reader {
    ahead: Vec<u8>,
}

impl Reader {
    /// The next request; `None` if the peer closed the connection before one began.
    pub(crate) fn next(
        &mut self,
        wire: &mut (impl Read + Write),
    ) -> Result<Option<Request>, ReadError> {
        let mut request = loop {
            if let Some((length, request)) = parse_head(&self.ahead)? {
                self.ahead.drain(..length);
                break request;
            }
            if self.ahead.len() > MAX_HEAD {
                return Err(ReadError::Refused(431));
            }
            if self.fill(wire)? == 0 {
                return match self.ahead.is_empty() {
                    true => Ok(None),
                    false => Err(ReadError::Io),
                };
            }
        };
        if header(&request.headers, "transfer-encoding").is_some() {
            return Err(ReadError::Refused(411));
        }
        let length = match header(&request.headers, "content-length") {
            None => 0,
            Some(text) => text.parse().map_err(|_| ReadError::Refused(400))?,
        };
        if length > MAX_BODY {
            return Err(ReadError::Refused(413));
        }
        if header(&request.headers, "expect").is_some() && self.ahead.len() < length {
            wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            wire.flush()?;
        }
        while self.ahead.len() < length {
            if self.fill(wire)? == 0 {
                return Err(ReadError::Io);
            }
        }
        request.body = self.ahead.drain(..length).collect();
        Ok(Some(request))
    }

    fn fill(&mut self, wire: &mut impl Read) -> io::Result<usize> {
        let mut chunk = [0; 4096];
        loop {
            match wire.read(&mut chunk) {
                Ok(n) => {
                    self.ahead.extend_from_slice(&chunk[..n]);
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The head at the beginning of these bytes, and its length; `None` if it is not complete yet.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Request)>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ReadError::Refused(431)),
        Err(_) => return Err(ReadError::Refused(400)),
    };
    let request = request_of(&head).ok_or(ReadError::Refused(400))?;
    Ok(Some((length, request)))
}

fn request_of(head: &httparse::Request) -> Option<Request> {
    let path = head.path.filter(|path| path.starts_with('/'))?;
    let headers = head
        .headers
        .iter()
        .map(|header| {
            Some(header_line(
                header.name,
                std::str::from_utf8(header.value).ok()?,
            ))
        })
        .collect::<Option<Vec<_>>>()?;
    let connection = header(&headers, "connection").unwrap_or_default();
    let keep_alive = match head.version? {
        0 => connection.eq_ignore_ascii_case("keep-alive"),
        _ => !connection.eq_ignore_ascii_case("close"),
    };
    Some(Request {
        method: head.method?.to_owned(),
        path: path.to_owned(),
        headers,
        body: Vec::new(),
        keep_alive,
    })
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Answer {
        Answer {
            status,
            headers: vec![header_line("Content-Type", "application/json")],
            body: value.to_string().into_bytes(),
        }
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push(header_line(name, value));
        self
    }

    /// Everything before the body. `Content-Length` is added unless the headers already specify a
    /// length.
    pub(crate) fn head(&self) -> Vec<u8> {
        self.head_with([])
    }

    /// The same, with further headers.
    pub(crate) fn head_with<'a>(
        &'a self,
        extra: impl IntoIterator<Item = &'a (String, String)>,
    ) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in self.headers.iter().chain(extra) {
            text += &format!("{name}: {value}\r\n");
        }
        let framed = ["content-length", "transfer-encoding"]
            .iter()
            .any(|name| header(&self.headers, name).is_some());
        if !framed {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        text += "\r\n";
        text.into_bytes()
    }
}

pub(crate) fn header_line(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn reason(status: u16) -> &'static str {
    let status = ::http::StatusCode::from_u16(status).ok();
    let reason = status.and_then(|status| status.canonical_reason());
    reason.unwrap_or("Status")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(text: &str) -> Result<Option<Request>, ReadError> {
        Reader::default().next(&mut Cursor::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn reads_pipelined_requests() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nx=1GET /b HTTP/1.0\r\n\r\n";
        let mut wire = Cursor::new(text.as_bytes().to_vec());
        let mut reader = Reader::default();
        let first = reader.next(&mut wire).unwrap().unwrap();
        assert_eq!(
            (first.path.as_str(), first.body.as_slice()),
            ("/a", &b"x=1"[..])
        );
        assert!(first.keep_alive);
        let second = reader.next(&mut wire).unwrap().unwrap();
        assert_eq!(second.path, "/b");
        assert!(!second.keep_alive);
        assert!(reader.next(&mut wire).unwrap().is_none());
    }

    #[test]
    fn refuses_what_it_does_not_serve() {
        for (text, status) in [
            ("GET / HTTP/2\r\n\r\n".to_owned(), 400),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                411,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n".to_owned(),
                413,
            ),
            ("GET x HTTP/1.1\r\n\r\n".to_owned(), 400),
            (format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(101)), 431),
            (format!("GET /{} HTTP/1.1\r\n", "a".repeat(40_000)), 431),
        ] {
            assert!(matches!(read(&text), Err(ReadError::Refused(s)) if s == status));
        }
        assert!(matches!(read("GET / HT"), Err(ReadError::Io)));
    }

    #[test]
    fn form_fields_are_decoded_and_need_the_content_type() {
        let form = [header_line(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )];
        let field = |body: &str| form_field(&form, body.as_bytes(), "ip");
        assert_eq!(
            field("a=b&ip=2a01%3A4f8%3A%3A+").as_deref(),
            Some("2a01:4f8:: ")
        );
        assert_eq!(field("i=1"), None);
        assert_eq!(form_field(&[], b"ip=1", "ip"), None);
    }
}
