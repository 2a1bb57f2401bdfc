//! HTTP/1.1, as much as a webservice for a few clients needs.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The most bytes of a request's head, and of its body, that are read.
const MAX_HEAD: usize = 32 * 1024;
const MAX_BODY: usize = 64 * 1024;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the connection is to stay open after the answer.
    pub(super) keep_alive: bool,
}

/// Why no request could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection ended or failed.
    Io,
    /// What came is not served; the status to answer.
    Refused(u16),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> ReadError {
        ReadError::Io
    }
}

/// The value of the first header of that name, in any case.
pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// User and password of a `Basic` authorization.
pub(super) fn login(headers: &[(String, String)]) -> Option<(String, String)> {
    let (scheme, token) = header(headers, "authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(token.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The value of a field of a form; `None` too where the body is no form at all.
pub(super) fn form_field(headers: &[(String, String)], body: &[u8], name: &str) -> Option<String> {
    let kind = header(headers, "content-type")?.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let decode = |text: &str| percent_decoded(&text.replace('+', " "));
    std::str::from_utf8(body)
        .ok()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| decode(key).as_deref() == Some(name))
        .and_then(|(_, value)| decode(value))
}

/// The text with its `%XX` resolved; `None` if one is broken or the result is not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// Reads the requests of one connection, one after the other.
#[derive(Default)]
pub(super) struct Reader {
    ahead: Vec<u8>,
}

impl Reader {
    /// The next request; `None` if the peer closed the connection before one began.
    pub(super) fn next(
        &mut self,
        wire: &mut (impl Read + Write),
    ) -> Result<Option<Request>, ReadError> {
        let head_end = loop {
            if let Some(at) = self.ahead.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
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
        let head: Vec<u8> = self.ahead.drain(..head_end + 4).collect();
        let mut request = parse_head(&head[..head_end]).ok_or(ReadError::Refused(400))?;
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

fn parse_head(head: &[u8]) -> Option<Request> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || method.is_empty() || !path.starts_with('/') {
        return None;
    }
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<Vec<_>>>()?;
    let connection = header(&headers, "connection").unwrap_or("");
    let keep_alive = match version {
        "HTTP/1.1" => !connection.eq_ignore_ascii_case("close"),
        "HTTP/1.0" => connection.eq_ignore_ascii_case("keep-alive"),
        _ => return None,
    };
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: Vec::new(),
        keep_alive,
    })
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, value: &serde_json::Value) -> Answer {
        Answer {
            status,
            headers: vec![header_line("Content-Type", "application/json")],
            body: value.to_string().into_bytes(),
        }
    }

    pub(super) fn with_header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push(header_line(name, value));
        self
    }

    /// Everything before the body. The body's length is announced unless the headers say
    /// something about it already.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
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

pub(super) fn header_line(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
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
        assert_eq!(field("ip=%zz"), None);
        assert_eq!(form_field(&[], b"ip=1", "ip"), None);
    }
}
