//! A proxy that tunnels with `CONNECT`, and keeps all that its clients send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The most of a request's head that is read.
const MAX_HEAD: usize = 16 * 1024;

#[derive(Default)]
struct Seen {
    connections: usize,
    /// The request lines.
    requests: Vec<String>,
    bytes: Vec<u8>,
}

/// A running proxy. It tunnels to wherever it is asked to, and only as long as it lives does it
/// take new connections.
pub struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    /// Listens on a port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub fn start() -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Proxy {
            address: listener.local_addr()?,
            seen: Arc::default(),
        };
        let seen = Arc::downgrade(&proxy.seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Some(seen)) = (client, seen.upgrade()) else {
                    return;
                };
                look(&seen).connections += 1;
                // An error says that one of the two has gone.
                thread::spawn(move || tunnel(client, &seen));
            }
        });
        Ok(proxy)
    }

    /// `http://127.0.0.1:3128`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made to it.
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
        // Wakes the thread that accepts, which then finds nobody interested.
        let _ = TcpStream::connect(self.address);
    }
}

fn look(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tunnel(mut client: TcpStream, seen: &Mutex<Seen>) -> io::Result<()> {
    let head = read_head(&mut client)?;
    look(seen).bytes.extend_from_slice(&head);
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    look(seen).requests.push(line.into());
    let words: Vec<&str> = line.split(' ').collect();
    let ["CONNECT", target, _] = words[..] else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    };
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

fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
