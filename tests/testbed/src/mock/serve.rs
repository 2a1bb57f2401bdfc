//! Connections: each is served by a thread of its own.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use super::exchange::{Exchange, Next};
use super::fault::Fault;
use super::record::Traffic;
use super::service::Service;
use super::state::Shared;
use super::wire::{self, Ending, Wire};
use crate::http::{ReadError, Reader};

/// Connections served at a time; further ones are dropped.
const MAX_CONNECTIONS: usize = 256;

/// Gives a new connection a number and a thread.
pub(super) fn admit<S: Service>(shared: &Arc<Shared<S>>, stream: TcpStream, peer: IpAddr) {
    let Ok(handle) = stream.try_clone() else {
        return;
    };
    shared.change(|state| {
        state.threads.retain(|thread| !thread.is_finished());
        if state.stopping || state.open.len() >= MAX_CONNECTIONS {
            return;
        }
        state.connections += 1;
        let number = state.connections;
        let fault = state.orders.strike_connection();
        if let Some(fault) = &fault {
            state.tell(Traffic::HandshakeFault {
                connection: number,
                fault: fault.name(),
            });
        }
        state.open.insert(number, handle);
        let connection = Connection {
            shared: Arc::clone(shared),
            number,
            peer,
        };
        let thread = thread::Builder::new()
            .name(format!("{}-{number}", S::NAME))
            .spawn(move || connection.run(stream, fault));
        match thread {
            Ok(thread) => state.threads.push(thread),
            Err(_) => {
                state.open.remove(&number);
            }
        }
    });
}

struct Connection<S: Service> {
    shared: Arc<Shared<S>>,
    number: usize,
    peer: IpAddr,
}

impl<S: Service> Connection<S> {
    fn run(&self, mut stream: TcpStream, fault: Option<Fault<S::Quirk>>) {
        // Neither fails on an open socket; if one did, a test would only be slower.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(self.shared.idle));
        match fault {
            Some(Fault::HangHandshake) => wire::read_to_end(&mut stream),
            Some(_) => {
                // The peer's hello, or its beginning.
                let _ = io::Read::read(&mut stream, &mut [0; 4096]);
                wire::close(&stream);
            }
            None => match Wire::open(stream, self.shared.tls.as_ref()) {
                Ok(wire) => return self.converse(wire),
                Err(error) => self.shared.look().tell(Traffic::HandshakeFailed {
                    connection: self.number,
                    reason: error.to_string(),
                }),
            },
        }
        self.forget();
    }

    fn converse(&self, mut wire: Wire) {
        let mut reader = Reader::default();
        let ending = loop {
            let request = match reader.next(&mut wire) {
                Ok(Some(request)) => request,
                Ok(None) => break Ending::Close,
                Err(ReadError::Io) => break Ending::Close,
                Err(ReadError::Refused(status)) => {
                    let answer = S::bad_request(status);
                    let answer = answer.with_header("Connection", "close");
                    let whole = [answer.head(), answer.body].concat();
                    break match wire.send(&whole) {
                        Ok(()) => Ending::Close,
                        Err(_) => Ending::Drop,
                    };
                }
            };
            let exchange = Exchange::new(&self.shared, &mut wire, &request, self.number, self.peer);
            match exchange.run() {
                Next::Request => {}
                Next::End(ending) => break ending,
            }
        };
        match ending {
            // Its second handle has to be dropped first, or there would be no reset.
            Ending::Reset => {
                self.forget();
                wire.end(ending);
            }
            // The service must be able to cut it until the end.
            Ending::Close | Ending::Drop => {
                wire.end(ending);
                self.forget();
            }
        }
    }

    fn forget(&self) {
        self.shared.change(|state| state.open.remove(&self.number));
    }
}
