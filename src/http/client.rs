//! The HTTPS client: sends a request, and returns a complete response or the reason why it failed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION};
use ureq::http::{HeaderMap, HeaderValue, Method, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};

use super::date;
use super::failure::RequestError;
use super::proxy::{self, ProxyError};
use super::request::CurrentRequest;
use super::resolver::PatientResolver;
use super::sent::SentConnector;
use super::tcp::TcpConnector;
use super::trust::{self, TrustError};
use crate::order::{Family, Trust, Url};
use crate::secret::SecretError;
use crate::text::printable;

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
    #[error("{key}: {error}")]
    Secret {
        /// The key that names the file.
        key: &'static str,
        error: SecretError,
    },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("{0} cannot be sent in an HTTP header")]
    Credentials(&'static str),
    #[error("could not encode the request: {0}")]
    Form(#[from] serde_urlencoded::ser::Error),
}

/// An HTTP client for one webservice. The connection is kept open for the next request.
pub struct Client {
    agent: Agent,
    /// How long one attempt to connect may take.
    connect: Duration,
    /// Where requests are sent, for the log.
    host: String,
    current: CurrentRequest,
    requests: u32,
    head: Head,
}

/// What the head of the last answer says beside its status.
#[derive(Debug, Clone, Default)]
struct Head {
    date: Option<String>,
    requests_left: Option<String>,
}

impl Head {
    fn of(headers: &HeaderMap) -> Head {
        Head {
            date: field(headers, "date"),
            requests_left: field(headers, "ratelimit-remaining"),
        }
    }
}

fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_string())
}

/// How the webservice was reached.
#[derive(Debug, Clone)]
pub struct Link {
    /// Who was asked, the proxy included.
    pub host: String,
    /// The address that the connection leads to: the proxy's, if there is one. `None` without a
    /// connection.
    pub to: Option<SocketAddr>,
    /// The webservice's time, in seconds since 1970.
    pub date: Option<i64>,
    /// How many requests are left (`RateLimit-Remaining`).
    pub requests_left: Option<u64>,
}

/// What is to be sent.
pub struct Request<'a> {
    pub method: Method,
    pub uri: &'a Uri,
    /// The value of the header `Authorization`.
    pub authorization: Option<&'a HeaderValue>,
    /// The body, and what `Content-Type` says of it.
    pub body: Option<(&'static str, &'a str)>,
    /// How long it may take, connecting included.
    pub within: Duration,
    /// How much of the answer's body is read, in bytes. A longer one is an error.
    pub max_body: u64,
    /// Read what a refused login says. If that does not come in whole, the status alone counts.
    pub reads_refusals: bool,
}

/// A complete response.
pub struct Response {
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The `X-Correlation-Id` header, by which a provider's support finds a request.
    pub correlation_id: Option<String>,
    pub body: Vec<u8>,
}

impl Client {
    /// Prepares everything for requests to the host of `url`, and sends nothing.
    ///
    /// # Errors
    /// A certificate or the proxy that is configured cannot be used.
    pub fn new(url: &Url, trust: &Trust, family: Family) -> Result<Client, SetupError> {
        Ok(Client::with_proxy(
            url,
            trust::tls_config(trust, url.is_https())?,
            family,
            proxy::for_url(url)?,
        ))
    }

    /// The same for a plain `http://` url in the local network, which is never asked by a proxy.
    pub fn direct(url: &Url) -> Result<Client, SetupError> {
        let tls = trust::tls_config(&Trust::System, false)?;
        Ok(Client::with_proxy(url, tls, Family::Any, None))
    }

    fn with_proxy(
        url: &Url,
        tls: ureq::tls::TlsConfig,
        family: Family,
        proxy: Option<ureq::Proxy>,
    ) -> Client {
        let current = CurrentRequest::default();
        let host = match &proxy {
            Some(proxy) => format!(
                "{} (through the proxy {}:{})",
                url.host(),
                printable(proxy.host().as_bytes()),
                proxy.port()
            ),
            None => url.host().into(),
        };
        let connect = match &proxy {
            Some(_) => CONNECT_BY_PROXY,
            None => CONNECT,
        };
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .user_agent(concat!("uwsgi-hetzner/", env!("CARGO_PKG_VERSION")))
            .build();
        Client {
            agent: Agent::with_parts(
                config,
                connector(url.as_uri(), &current),
                PatientResolver::new(family),
            ),
            connect,
            host,
            current,
            requests: 0,
            head: Head::default(),
        }
    }

    /// Sends a request, and waits for the complete response.
    ///
    /// # Errors
    /// There is no complete response.
    pub fn send(&mut self, request: Request) -> Result<Response, RequestError> {
        self.current.begin(request.within);
        self.head = Head::default();
        let result = self.run(request);
        let sent = self.current.is_sent();
        self.requests += u32::from(sent);
        result.map_err(|error| RequestError::new(&error, sent, &self.host))
    }

    fn run(&mut self, request: Request) -> Result<Response, ureq::Error> {
        let is_post = request.method == Method::POST;
        let mut builder = ureq::http::Request::builder()
            .method(request.method)
            .uri(request.uri);
        if let Some(authorization) = request.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let within = request.within;
        let response = match request.body {
            Some((content_type, body)) => self.exchange(
                builder.header(CONTENT_TYPE, content_type).body(body)?,
                within,
            ),
            // A server may insist on `Content-Length: 0` (RFC 9110, 8.6).
            None if is_post => self.exchange(builder.body("")?, within),
            None => self.exchange(builder.body(())?, within),
        }?;
        let status = response.status().as_u16();
        self.head = Head::of(response.headers());
        let lossy = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let location = lossy(LOCATION);
        let correlation_id = lossy(HeaderName::from_static("x-correlation-id"));
        let mut body = response.into_body();
        let mut read = || {
            let body = body.with_config().limit(request.max_body);
            body.read_to_vec()
        };
        // A refused login must not be repeated and a redirect is not followed, whatever comes after
        // the head.
        let body = match status {
            401 if request.reads_refusals => read().unwrap_or_default(),
            300..=399 | 401 => Vec::new(),
            _ => read()?,
        };
        Ok(Response {
            status,
            location,
            correlation_id,
            body,
        })
    }

    fn exchange(
        &self,
        request: ureq::http::Request<impl ureq::AsSendBody>,
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

    /// How many requests have been sent so far, or may have been.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// The address that requests are sent from, once there was a connection.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.current.local_address()
    }

    /// How the last answer came.
    pub fn link(&self) -> Link {
        let Head {
            date,
            requests_left,
        } = &self.head;
        Link {
            host: self.host.clone(),
            to: self.current.remote_address(),
            date: date.as_deref().and_then(date::parse),
            requests_left: requests_left.as_deref().and_then(|left| left.parse().ok()),
        }
    }
}

/// Opens connections for requests to the host of `target`: through the configured proxy if there is
/// one, and with TLS if the URL is `https://`.
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
