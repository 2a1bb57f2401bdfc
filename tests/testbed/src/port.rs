//! Listening sockets: a TCP port that stays reserved while it is closed, and a thread that accepts.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// How long to wait before the next accept when there are no descriptors left.
const RETRY: Duration = Duration::from_millis(10);

/// A port that the kernel gives to no other socket while this exists.
pub(crate) struct Reservation {
    /// Bound, but never listening.
    _socket: Socket,
    address: SocketAddr,
}

impl Reservation {
    /// Port 0 takes a free one.
    pub(crate) fn new(address: SocketAddr) -> io::Result<Reservation> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the socket has no port"))?;
        Ok(Reservation {
            _socket: socket,
            address,
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// Connections are refused until this is called, and again when the listener is closed.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self.address)
    }
}

/// A reserved port with a thread that accepts connections while it is open.
pub(crate) struct Port {
    reservation: Reservation,
    acceptor: Option<Acceptor<TcpListener>>,
}

impl Port {
    pub(crate) fn reserve(address: SocketAddr) -> io::Result<Port> {
        Ok(Port {
            reservation: Reservation::new(address)?,
            acceptor: None,
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.reservation.number()
    }

    /// Listens, unless it does already. Each connection is handed over with its peer's address, on
    /// the thread that accepts.
    pub(crate) fn open(
        &mut self,
        admit: impl Fn((TcpStream, IpAddr)) + Send + 'static,
    ) -> io::Result<()> {
        if self.acceptor.is_none() {
            self.acceptor = Some(Acceptor::start(self.reservation.listen()?, admit)?);
        }
        Ok(())
    }

    /// Refuses connections from now on. Those that exist live on.
    pub(crate) fn close(&mut self) {
        self.acceptor = None;
    }
}

/// A thread that accepts connections. Dropping it closes the listener.
pub(crate) struct Acceptor<L: Accept> {
    listener: Arc<L>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A socket that listens.
pub(crate) trait Accept: AsFd + Send + Sync + 'static {
    type Connection;

    fn accept(&self) -> io::Result<Self::Connection>;
}

impl Accept for TcpListener {
    type Connection = (TcpStream, IpAddr);

    fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = TcpListener::accept(self)?;
        Ok((stream, peer.ip()))
    }
}

impl Accept for UnixListener {
    type Connection = UnixStream;

    fn accept(&self) -> io::Result<UnixStream> {
        Ok(UnixListener::accept(self)?.0)
    }
}

impl<L: Accept> Acceptor<L> {
    pub(crate) fn start(
        listener: L,
        admit: impl Fn(L::Connection) + Send + 'static,
    ) -> io::Result<Acceptor<L>> {
        let listener = Arc::new(listener);
        let closing = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("accept".to_owned()).spawn({
            let (listener, closing) = (Arc::clone(&listener), Arc::clone(&closing));
            move || accept(&*listener, &closing, admit)
        })?;
        Ok(Acceptor {
            listener,
            closing,
            thread: Some(thread),
        })
    }
}

impl<L: Accept> Drop for Acceptor<L> {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // On Linux this wakes up the accept. It cannot fail on a socket that listens.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, and has reported it.
            let _ = thread.join();
        }
    }
}

fn accept<L: Accept>(listener: &L, closing: &AtomicBool, admit: impl Fn(L::Connection)) {
    while !closing.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok(connection) => admit(connection),
            // The peer has left already, or there are no descriptors left for now.
            Err(_) if !closing.load(Ordering::SeqCst) => thread::sleep(RETRY),
            Err(_) => {}
        }
    }
}
