//! A client for the unit tests of the mock services.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::{Server, Service};

/// Longer than any test has to wait.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect<S: Service>(server: &Server<S>) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

pub(crate) fn tls<S: Service>(server: &Server<S>) -> io::Result<Tls> {
    trusting(server, connect(server))
}

/// TLS on a connection to a server that has the certificate of this one.
pub(crate) fn trusting<S: Service>(server: &Server<S>, stream: TcpStream) -> io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(server.ca_file()).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// Status, head and body of one answer.
pub(crate) fn read_answer(stream: &mut impl Read) -> io::Result<(u16, String, Vec<u8>)> {
    let head = read_until(stream, b"\r\n\r\n")?;
    let body = match head.contains("Transfer-Encoding: chunked\r\n") {
        true => read_chunks(stream)?,
        false => {
            let length = head
                .split_once("Content-Length: ")
                .and_then(|(_, rest)| rest.lines().next()?.parse().ok());
            read_exactly(stream, length.unwrap_or(0))?
        }
    };
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, head, body))
}

fn read_chunks(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_until(stream, b"\r\n")?;
        let length = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        body.extend(read_exactly(stream, length)?);
        read_exactly(stream, 2)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_until(stream: &mut impl Read, end: &[u8]) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.extend(read_exactly(stream, 1)?);
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn read_exactly(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Status and body of the answer to a request; the body is null if it is not JSON.
pub(crate) fn ask_on(stream: &mut (impl Read + Write), text: &str) -> io::Result<(u16, Value)> {
    stream.write_all(text.as_bytes())?;
    let (status, _, body) = read_answer(stream)?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// All bytes that follow a request, and the error at their end.
pub(crate) fn raw<S: Service>(server: &Server<S>, text: &str) -> (Vec<u8>, io::Result<()>) {
    let mut stream = connect(server);
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).map(|_| ());
    (bytes, end)
}
