//! Asks the webservice for what a check wants to know. Nothing is changed by it.

use std::net::SocketAddr;
use std::time::Duration;

use ureq::http::{Method, Uri};

use super::answer::survey::{Access, FailoverFound, Server};
use super::client::{Client, SetupError};
use super::date;
use super::request_error::RequestError;
use crate::order::Order;
use crate::takeover::Problem;

/// A request that was tried, and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange<T> {
    pub link: Link,
    /// Or why there is no answer.
    pub answer: Result<Access<T>, Problem>,
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
    /// How many requests are left.
    pub requests_left: Option<u64>,
}

impl Link {
    fn of(client: &Client) -> Link {
        let head = client.head();
        Link {
            host: client.host().into(),
            to: client.current().remote_address(),
            date: head.date.as_deref().and_then(date::parse),
            requests_left: head
                .requests_left
                .as_deref()
                .and_then(|left| left.parse().ok()),
        }
    }
}

/// Asks where the failover IP is routed: one request.
///
/// # Errors
/// No request can be made.
pub fn ask_failover(
    order: &Order,
    within: Duration,
) -> Result<Exchange<FailoverFound>, SetupError> {
    let mut client = Client::new(order)?;
    let answer = client.ask(Method::GET, within, |reader, answer| reader.survey(answer));
    Ok(Exchange {
        link: Link::of(&client),
        answer: answer.map_err(RequestError::into_problem),
    })
}

/// Asks for the account's servers: one request. `None` if the order's URL has no such neighbour.
///
/// # Errors
/// No request can be made.
pub fn ask_servers(
    order: &Order,
    within: Duration,
) -> Result<Option<Exchange<Vec<Server>>>, SetupError> {
    let mut parts = order.url.as_uri().clone().into_parts();
    parts.path_and_query = "/server".parse().ok();
    let Ok(uri) = Uri::from_parts(parts) else {
        return Ok(None);
    };
    let mut client = Client::with_uri(order, uri)?;
    let answer = client.ask(Method::GET, within, |reader, answer| reader.servers(answer));
    Ok(Some(Exchange {
        link: Link::of(&client),
        answer: answer.map_err(RequestError::into_problem),
    }))
}
