//! The end of the connector chain: notes when the first byte of a request is sent.

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::request::CurrentRequest;

/// The last connector. What it is given is open, TLS included.
#[derive(Debug)]
pub struct SentConnector {
    /// A URL of the host that requests are for, to tell its connections from those to a proxy.
    pub target: Uri,
    pub request: CurrentRequest,
}

#[derive(Debug)]
pub struct SentTransport<T> {
    transport: T,
    /// `None` for a connection to a proxy: a `CONNECT` is not the request.
    request: Option<CurrentRequest>,
}

impl<T: Transport> Connector<T> for SentConnector {
    type Out = SentTransport<T>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<T>,
    ) -> Result<Option<SentTransport<T>>, Error> {
        let is_target = details.uri.scheme() == self.target.scheme()
            && details.uri.authority() == self.target.authority();
        if is_target {
            self.request.end_opening();
        }
        Ok(chained.map(|transport| SentTransport {
            transport,
            request: is_target.then(|| self.request.clone()),
        }))
    }
}

impl<T: Transport> Transport for SentTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(request) = &self.request {
            request.note_sent();
        }
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}
