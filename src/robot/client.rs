//! The HTTPS client: sends a request, and passes the result to [`Reader`] or [`RequestError`].

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};

use super::answer::{Answer, Reader};
use super::proxy::{self, ProxyError};
use super::request::CurrentRequest;
use super::request_error::RequestError;
use super::resolver::PatientResolver;
use super::sent::SentConnector;
use super::tcp::TcpConnector;
use super::trust::{self, TrustError};
use crate::order::Order;
use crate::secret::{Secret, SecretError};
use crate::takeover::{Change, Look, Provider};
use crate::text::printable;

/// How much of an answer's body is read, in bytes.
const MAX_BODY: u64 = 16 * 1024;
/// How much of an answer's head is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long one attempt to connect may take, TLS included. A lost packet is sent again sooner than
/// that, and the next attempt follows soon.
const CONNECT: Duration = Duration::from_secs(5);
/// The same through a proxy, which has to connect too.
const CONNECT_BY_PROXY: Duration = Duration::from_secs(10);

/// Why no request can be made at all.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("password_file: {0}")]
    Password(#[from] SecretError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("username and password cannot be sent in an HTTP header")]
    Credentials,
    #[error("could not encode the request: {0}")]
    Form(#[from] serde_urlencoded::ser::Error),
}

/// The Robot webservice over HTTPS. The connection is kept open for the next request.
pub struct Client {
    agent: Agent,
    uri: Uri,
    /// How long one attempt to connect may take.
    connect: Duration,
    /// Where requests are sent, for the log.
    host: String,
    credentials: Credentials,
    form: String,
    failover_ip: IpAddr,
    ours: IpAddr,
    is_custom: bool,
    current: CurrentRequest,
    requests: u32,
    /// What the head of the last answer says beside its status.
    head: Head,
}

/// What an answer's head says beside its status.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// `Date`.
    pub date: Option<String>,
    /// `RateLimit-Remaining`: how many requests are left.
    pub requests_left: Option<String>,
}

impl Head {
    fn of(headers: &HeaderMap) -> Head {
        let field = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_string());
        Head {
            date: field("date"),
            requests_left: field("ratelimit-remaining"),
        }
    }
}

struct Credentials {
    password: Secret,
    /// `username:password` in base64.
    encoded: Secret,
    /// The header's whole value.
    authorization: HeaderValue,
}

impl Client {
    /// Prepares everything for the first request, and sends nothing.
    ///
    /// # Errors
    /// A file, a certificate or the proxy that is configured cannot be used.
    pub fn new(order: &Order) -> Result<Client, SetupError> {
        Client::with_uri(order, order.url.as_uri().clone())
    }

    /// The same, for another resource of the webservice.
    pub(super) fn with_uri(order: &Order, uri: Uri) -> Result<Client, SetupError> {
        let current = CurrentRequest::default();
        let proxy = proxy::for_url(&order.url)?;
        let host = match &proxy {
            Some(proxy) => format!(
                "{} (through the proxy {}:{})",
                order.url.host(),
                printable(proxy.host().as_bytes()),
                proxy.port()
            ),
            None => order.url.host().into(),
        };
        let connect = match &proxy {
            Some(_) => CONNECT_BY_PROXY,
            None => CONNECT,
        };
        let config = Agent::config_builder()
            .tls_config(trust::tls_config(&order.trust, order.url.is_https())?)
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .user_agent(concat!("uwsgi-hetzner/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client {
            agent: Agent::with_parts(
                config,
                connector(&uri, &current),
                PatientResolver::new(order.family),
            ),
            uri,
            connect,
            host,
            credentials: Credentials::new(&order.username, order.password()?)?,
            form: serde_urlencoded::to_string([("active_server_ip", order.active_ip.to_string())])?,
            failover_ip: order.failover_ip,
            ours: order.active_ip,
            is_custom: order.url.is_custom(),
            current,
            requests: 0,
            head: Head::default(),
        })
    }

    /// Sends one request, and returns what `read` makes of the answer.
    pub(super) fn ask<T>(
        &mut self,
        method: Method,
        within: Duration,
        read: impl FnOnce(&Reader, &Answer) -> T,
    ) -> Result<T, RequestError> {
        self.current.begin(within);
        self.head = Head::default();
        let result = self.send(method, within);
        let sent = self.current.is_sent();
        self.requests += u32::from(sent);
        let (status, location, body) =
            result.map_err(|error| RequestError::new(&error, sent, &self.host))?;
        let reader = Reader {
            failover_ip: self.failover_ip,
            ours: self.ours,
            is_custom: self.is_custom,
            sent_from: self.current.local_address(),
            secrets: &[
                self.credentials.password.expose(),
                self.credentials.encoded.expose(),
            ],
        };
        let answer = Answer {
            status,
            location: location.as_deref(),
            body: &body,
        };
        Ok(read(&reader, &answer))
    }

    /// What the head of the last answer says.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Who is asked, as the log names it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn current(&self) -> &CurrentRequest {
        &self.current
    }

    fn send(
        &mut self,
        method: Method,
        within: Duration,
    ) -> Result<(u16, Option<String>, Vec<u8>), ureq::Error> {
        let form = match method {
            Method::POST => Some(self.form.as_str()),
            _ => None,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&self.uri)
            .header(AUTHORIZATION, &self.credentials.authorization);
        if form.is_some() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let response = match form {
            Some(form) => self.run(request.body(form)?, within),
            None => self.run(request.body(())?, within),
        }?;
        let status = response.status().as_u16();
        self.head = Head::of(response.headers());
        let location = response
            .headers()
            .get(LOCATION)
            .map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned());
        let body = match is_decided_by_its_status(status) {
            true => Vec::new(),
            false => response
                .into_body()
                .into_with_config()
                .limit(MAX_BODY)
                .read_to_vec()?,
        };
        Ok((status, location, body))
    }

    fn run(
        &self,
        request: Request<impl ureq::AsSendBody>,
        within: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(within))
            .timeout_connect(Some(self.connect.min(within)))
            .timeout_resolve(Some(CONNECT.min(within)))
            .build();
        self.agent.run(request)
    }
}

/// Opens connections for requests to `target`: through the configured proxy if there is one, and
/// with TLS if the URL is `https://`.
pub fn connector(target: &Uri, current: &CurrentRequest) -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(TcpConnector {
            request: current.clone(),
        })
        .chain(RustlsConnector::default())
        .chain(SentConnector {
            target: target.clone(),
            request: current.clone(),
        })
}

/// A refused login must not be repeated and a redirect is not followed, whatever comes after the
/// head.
fn is_decided_by_its_status(status: u16) -> bool {
    matches!(status, 300..=399 | 401)
}

impl Credentials {
    fn new(username: &[u8], password: Secret) -> Result<Credentials, SetupError> {
        let plain = Secret::new([username, b":", password.expose()].concat());
        let encoded = Secret::new(STANDARD.encode(plain.expose()).into_bytes());
        let whole = Secret::new([b"Basic ", encoded.expose()].concat());
        let mut authorization =
            HeaderValue::from_bytes(whole.expose()).map_err(|_| SetupError::Credentials)?;
        authorization.set_sensitive(true);
        Ok(Credentials {
            password,
            encoded,
            authorization,
        })
    }
}

impl Provider for Client {
    fn change(&mut self, within: Duration) -> Change {
        self.ask(Method::POST, within, |reader, answer| reader.change(answer))
            .unwrap_or_else(RequestError::into_change)
    }

    fn look(&mut self, within: Duration) -> Look {
        self.ask(Method::GET, within, |reader, answer| reader.look(answer))
            .unwrap_or_else(RequestError::into_look)
    }

    fn requests(&self) -> u32 {
        self.requests
    }
}
