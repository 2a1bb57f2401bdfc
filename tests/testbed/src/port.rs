//! A TCP port that stays ours, whether anybody listens on it or not.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// How long to wait before the next accept when there are no descriptors left.
const RETRY: Duration = Duration::from_millis(10);

/// A port that nobody else is given while this lives.
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
    listening: Option<Listening>,
}

struct Listening {
    listener: Arc<TcpListener>,
    closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Port {
    pub(crate) fn reserve(address: SocketAddr) -> io::Result<Port> {
        Ok(Port {
            reservation: Reservation::new(address)?,
            listening: None,
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.reservation.number()
    }

    /// Listens, unless it does already. Each connection is handed over with its peer's address, on
    /// the thread that accepts.
    pub(crate) fn open(
        &mut self,
        admit: impl Fn(TcpStream, IpAddr) + Send + 'static,
    ) -> io::Result<()> {
        if self.listening.is_some() {
            return Ok(());
        }
        let listener = Arc::new(self.reservation.listen()?);
        let closing = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("accept".to_owned()).spawn({
            let (listener, closing) = (Arc::clone(&listener), Arc::clone(&closing));
            move || accept(&listener, &closing, admit)
        })?;
        self.listening = Some(Listening {
            listener,
            closing,
            thread,
        });
        Ok(())
    }

    /// Refuses connections from now on. Those that exist live on.
    pub(crate) fn close(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.closing.store(true, Ordering::SeqCst);
            // On Linux this wakes up the accept. It cannot fail on a socket that listens.
            let _ = SockRef::from(&*listening.listener).shutdown(Shutdown::Both);
            // An error means that the thread panicked, and has reported it.
            let _ = listening.thread.join();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept(listener: &TcpListener, closing: &AtomicBool, admit: impl Fn(TcpStream, IpAddr)) {
    while !closing.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, peer)) => admit(stream, peer.ip()),
            // The peer has left already, or there are no descriptors left for now.
            Err(_) if !closing.load(Ordering::SeqCst) => thread::sleep(RETRY),
            Err(_) => {}
        }
    }
}
