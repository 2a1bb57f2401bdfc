//! TCP and unix sockets, alike.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use crate::port::{Acceptor, Port};

pub(super) enum Listener {
    Tcp(Port),
    Unix {
        path: PathBuf,
        acceptor: Option<Acceptor<UnixListener>>,
    },
}

pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens, unless it does already. Each connection is handed over on the thread that accepts.
    pub(super) fn open(&mut self, admit: impl Fn(Socket) + Send + 'static) -> io::Result<()> {
        match self {
            Listener::Tcp(port) => port.open(move |(stream, _)| admit(Socket::Tcp(stream))),
            Listener::Unix {
                acceptor: Some(_), ..
            } => Ok(()),
            Listener::Unix { path, acceptor } => {
                // The file of the last time is still there, so that connections are refused.
                match fs::remove_file(&*path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                let listener = UnixListener::bind(path)?;
                let admit = move |stream| admit(Socket::Unix(stream));
                *acceptor = Some(Acceptor::start(listener, admit)?);
                Ok(())
            }
        }
    }

    pub(super) fn close(&mut self) {
        match self {
            Listener::Tcp(port) => port.close(),
            Listener::Unix { acceptor, .. } => *acceptor = None,
        }
    }
}

impl Socket {
    pub(super) fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
        })
    }

    pub(super) fn shut_down(&self) {
        // An error means that the peer was faster.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.flush(),
            Socket::Unix(stream) => stream.flush(),
        }
    }
}
