//! The metadata service: what a server can ask about itself.
//!
//! Source: <https://docs.hetzner.cloud/reference/cloud#server-metadata>.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::http::{Answer, Request, header_line};
use crate::mock::{Listen, Method, Outcome, Scheme, Server, Service, Traffic};

const BASE: &str = "/hetzner/v1/metadata";

/// The metadata service of one server: plain HTTP, without credentials.
pub type Metadata = Server<Instance>;

/// What a server is told about itself.
pub struct Instance {
    id: Option<String>,
    private_networks: String,
}

impl Metadata {
    /// Starts it on an address; port 0 takes a free one. Without an id it is not a cloud server's.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub fn start(address: SocketAddr, id: Option<u64>) -> io::Result<Metadata> {
        let instance = Instance {
            id: id.map(|id| id.to_string()),
            private_networks: "[]\n".to_owned(),
        };
        let listen = Listen {
            address,
            scheme: Scheme::Http,
            ..Listen::default()
        };
        Server::run(instance, listen)
    }

    /// Its base URL: `http://localhost:8080/hetzner/v1/metadata`.
    pub fn url(&self) -> String {
        format!("{}{BASE}", self.origin())
    }

    /// The server's id from now on; with `None` the answer is 404.
    pub fn set_id(&self, id: Option<u64>) {
        self.change(|instance| instance.id = id.map(|id| id.to_string()));
    }

    /// The answer in place of an id from now on.
    pub fn set_id_text(&self, text: &str) {
        self.change(|instance| instance.id = Some(text.to_owned()));
    }

    /// The answer about private Networks from now on: YAML.
    pub fn set_private_networks(&self, yaml: &str) {
        self.change(|instance| instance.private_networks = yaml.to_owned());
    }
}

impl Service for Instance {
    type Kind = Method;
    type Quirk = Infallible;
    type Change = Infallible;
    type Event = Traffic;

    const NAME: &'static str = "metadata";
    const OBJECT: &'static str = "4242";
    const ANSWERS_WHEN_DONE: bool = false;

    fn admit(&mut self, _peer: IpAddr, _request: &Request, _now: Instant) -> Result<(), Answer> {
        Ok(())
    }

    fn serve(
        &mut self,
        request: &Request,
        _quirk: Option<&Infallible>,
        _now: Instant,
    ) -> Outcome<Infallible> {
        let text = match (request.method.as_str(), request.path.strip_prefix(BASE)) {
            ("GET", Some("/instance-id")) => self.id.as_ref(),
            ("GET", Some("/private-networks")) => Some(&self.private_networks),
            _ => None,
        };
        Outcome::Answer(match text {
            Some(text) => plain(200, text),
            None => plain(404, "not found\n"),
        })
    }

    fn answer(&self, change: &Infallible, _now: Instant) -> Answer {
        match *change {}
    }

    fn is_running(&self, change: &Infallible) -> bool {
        match *change {}
    }

    fn settle(&mut self, _now: Instant) {}

    fn next_settling(&self) -> Option<Instant> {
        None
    }

    fn take_events(&mut self) -> Vec<Traffic> {
        Vec::new()
    }

    fn bad_request(status: u16) -> Answer {
        plain(status, "bad request\n")
    }
}

fn plain(status: u16, text: &str) -> Answer {
    Answer {
        status,
        headers: vec![header_line("Content-Type", "text/plain; charset=utf-8")],
        body: text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::mock::client::{LONG, connect, raw, read_answer};
    use crate::mock::{Fault, When};

    fn ask(metadata: &Metadata, path: &str) -> (u16, String) {
        let mut stream = connect(metadata);
        let text = format!("GET {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
        let (status, _, body) = read_answer(&mut stream).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_server_is_told_its_id_and_its_private_networks() {
        let metadata = Metadata::start((Ipv4Addr::LOCALHOST, 0).into(), Some(42)).unwrap();
        let port = metadata.port();
        let url = format!("http://localhost:{port}/hetzner/v1/metadata");
        assert_eq!(metadata.url(), url);
        assert_eq!(ask(&metadata, "/instance-id"), (200, "42".to_owned()));
        assert_eq!(ask(&metadata, "/private-networks").0, 200);
        assert_eq!(ask(&metadata, "/nothing").0, 404);
        metadata.set_id(Some(43));
        assert_eq!(ask(&metadata, "/instance-id").1, "43");
        metadata.set_id_text("<html>");
        assert_eq!(ask(&metadata, "/instance-id").1, "<html>");
        metadata.set_private_networks("- ip: 10.0.1.2\n");
        assert_eq!(ask(&metadata, "/private-networks").1, "- ip: 10.0.1.2\n");
        metadata.set_id(None);
        assert_eq!(ask(&metadata, "/instance-id").0, 404);
        assert!(metadata.wait_for_requests(Method::Get, 7, Duration::ZERO));
    }

    #[test]
    fn its_faults_can_be_ordered() {
        let metadata = Metadata::start((Ipv4Addr::LOCALHOST, 0).into(), Some(42)).unwrap();
        metadata.order(When::Once(Method::Get), Fault::Close);
        metadata.order(When::Once(Method::Get), Fault::Hang);
        assert!(raw(&metadata, "GET / HTTP/1.1\r\n\r\n").0.is_empty());
        let mut stream = connect(&metadata);
        io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(metadata.wait_for_requests(Method::Get, 2, LONG));
        drop(metadata);
        assert_eq!(io::Read::read(&mut stream, &mut [0]).unwrap(), 0);
    }
}
