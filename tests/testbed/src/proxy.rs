//! A proxy that tunnels with `CONNECT` and records everything that its clients send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The most of a request's head that is read.
const MAX_HEAD: usize = 16 * 1024;

/// The most bytes that it drips.
const DRIPS: usize = 3000;
/// How long it waits between two bytes.
const DRIP: Duration = Duration::from_millis(200);

/// How a proxy responds to a request for a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It opens one.
    Tunnels,
    /// It sends an endless response, byte by byte.
    Drips,
    /// It sends an endless response head, as fast as it can.
    Floods,
    /// It sends nothing and keeps the connection open.
    Silent,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// The request lines.
    requests: Vec<String>,
    bytes: Vec<u8>,
}

/// A running proxy. It tunnels to any target. Dropping it ends new connections; existing tunnels stay
/// open.
pub struct Proxy {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    /// Listens on a port of loopback.
    ///
    /// # Errors
    /// Loopback has no free port.
    pub fn start() -> io::Result<Proxy> {
        Proxy::start_with(Manner::Tunnels, None)
    }

    /// The same, with a way to respond, and optionally with TLS between client and proxy.
    ///
    /// # Errors
    /// Loopback has no free port.
    pub fn start_with(manner: Manner, tls: Option<Arc<ServerConfig>>) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Proxy {
            address: listener.local_addr()?,
            scheme: if tls.is_some() { "https" } else { "http" },
            seen: Arc::default(),
        };
        let seen = Arc::downgrade(&proxy.seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Some(seen)) = (client, seen.upgrade()) else {
                    return;
                };
                look(&seen).connections += 1;
                let tls = tls.clone();
                // An error means that one of the two has left.
                thread::spawn(move || match tls {
                    Some(tls) => behind_tls(client, tls, manner, &seen),
                    None => serve(client, manner, &seen),
                });
            }
        });
        Ok(proxy)
    }

    /// `http://127.0.0.1:3128`
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        look(&self.seen).connections
    }

    /// The request lines so far: `CONNECT localhost:8443 HTTP/1.1`.
    pub fn requests(&self) -> Vec<String> {
        look(&self.seen).requests.clone()
    }

    /// Everything that clients have sent so far.
    pub fn bytes(&self) -> Vec<u8> {
        look(&self.seen).bytes.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Wakes the accepting thread, which then finds that the proxy was dropped.
        let _ = TcpStream::connect(self.address);
    }
}

fn look(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the TLS off and serves the rest as any other proxy does.
fn behind_tls(
    client: TcpStream,
    tls: Arc<ServerConfig>,
    manner: Manner,
    seen: &Mutex<Seen>,
) -> io::Result<()> {
    let between = TcpListener::bind("127.0.0.1:0")?;
    let mut outside = TcpStream::connect(between.local_addr()?)?;
    let (inside, _) = between.accept()?;
    let session = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(session, client);
    // One thread serves both directions in turn, because two threads cannot share a session.
    let glance = Some(Duration::from_millis(5));
    client.sock.set_read_timeout(glance)?;
    outside.set_read_timeout(glance)?;
    thread::scope(|scope| {
        scope.spawn(|| serve(inside, manner, seen));
        let mut both_ways = || {
            Ok::<_, io::Error>(
                pass_on(&mut client, &mut outside)? && pass_on(&mut outside, &mut client)?,
            )
        };
        while both_ways().unwrap_or(false) {}
        // In every case, because the scope waits for the other side.
        outside.shutdown(Shutdown::Both)
    })
}

/// Passes on the bytes that have come in; `false` at their end.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    match from.read(&mut chunk) {
        Ok(0) => Ok(false),
        Ok(read) => {
            to.write_all(&chunk[..read])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(true),
            _ => Ok(false),
        },
    }
}

fn serve(mut client: TcpStream, manner: Manner, seen: &Mutex<Seen>) -> io::Result<()> {
    let head = read_head(&mut client)?;
    look(seen).bytes.extend_from_slice(&head);
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    look(seen).requests.push(line.into());
    let words: Vec<&str> = line.split(' ').collect();
    let ["CONNECT", target, _] = words[..] else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    };
    match manner {
        Manner::Tunnels => {}
        Manner::Drips => return drip(&mut client),
        Manner::Floods => return flood(&mut client),
        // Until the client hangs up.
        Manner::Silent => return client.read(&mut [0]).map(|_| ()),
    }
    let Ok(mut server) = TcpStream::connect(target) else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut back_from, mut back_to) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut chunk) {
        look(seen).bytes.extend_from_slice(&chunk[..read]);
        if server.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(())
}

fn drip(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"HTTP/1.1 200 Connection established\r\nX-Drip: ")?;
    for _ in 0..DRIPS {
        client.write_all(b".")?;
        thread::sleep(DRIP);
    }
    Ok(())
}

fn flood(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"HTTP/1.1 200 Connection established\r\n")?;
    for _ in 0..1_000_000 {
        client.write_all(b"X-Flood: one header of many\r\n")?;
    }
    Ok(())
}

fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
