//! One request to a webservice within one deadline: names, proxies, connections, certificates, and
//! whether anything was sent. It knows no provider.

mod client;
mod date;
mod failure;
mod proxy;
mod request;
mod resolver;
mod sent;
mod tcp;
mod trust;

pub use client::{Client, Link, Request, SetupError, connector};
pub use failure::{RequestError, describe};
pub use proxy::for_url as proxy_for;
pub use request::CurrentRequest;
pub use resolver::PatientResolver;
pub use tcp::connect_to as connect;
pub use trust::tls_config;
