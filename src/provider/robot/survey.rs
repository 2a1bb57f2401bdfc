//! Asks the webservice for what a check wants to know. Nothing is changed by it.

use std::time::Duration;

use ureq::http::{Method, Uri};

use super::answer::survey::{Access, FailoverFound, Server};
use super::client::Client;
use crate::http::{Link, SetupError};
use crate::order::{Order, Robot};
use crate::takeover::Problem;

/// A request that was tried, and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange<T> {
    pub link: Link,
    /// Or why there is no answer.
    pub answer: Result<Access<T>, Problem>,
}

/// Asks where the failover IP is routed: one request.
///
/// # Errors
/// No request can be made.
pub fn ask_failover(
    order: &Order,
    robot: &Robot,
    within: Duration,
) -> Result<Exchange<FailoverFound>, SetupError> {
    let mut client = Client::new(order, robot)?;
    let answer = client.ask(Method::GET, within, |reader, answer| reader.survey(answer));
    Ok(Exchange {
        link: client.link(),
        answer: answer.map_err(Problem::new),
    })
}

/// Asks for the account's servers: one request. `None` if the order's URL has no such neighbour.
///
/// # Errors
/// No request can be made.
pub fn ask_servers(
    order: &Order,
    robot: &Robot,
    within: Duration,
) -> Result<Option<Exchange<Vec<Server>>>, SetupError> {
    let mut parts = robot.url.as_uri().clone().into_parts();
    parts.path_and_query = "/server".parse().ok();
    let Ok(uri) = Uri::from_parts(parts) else {
        return Ok(None);
    };
    let mut client = Client::with_uri(order, robot, uri)?;
    let answer = client.ask(Method::GET, within, |reader, answer| reader.servers(answer));
    Ok(Some(Exchange {
        link: client.link(),
        answer: answer.map_err(Problem::new),
    }))
}
