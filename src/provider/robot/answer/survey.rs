//! What the answers to a check's requests mean, which change nothing.

use std::net::IpAddr;

use serde_json::Value;

use super::{Answer, Failover, Reader, State};
use crate::provider::is_same_network;
use crate::takeover::Problem;

/// Whether the webservice answers a request, or why it does not.
#[derive(Debug, Clone)]
pub enum Access<T> {
    /// The login was accepted.
    Granted(T),
    /// The login was refused.
    LoginRefused(Problem),
    /// Too many requests, or this server's address is blocked for a while.
    Limited(Problem),
    /// The login was accepted, and what was asked for is not in this account.
    NotFound(Problem),
    /// The answer says nothing that is of use.
    Unusable(Problem),
}

/// What is known of a failover IP.
#[derive(Debug, Clone)]
pub enum FailoverFound {
    /// It can be switched by this address.
    Here {
        netmask: Option<IpAddr>,
        /// The server it is routed to.
        active: Option<IpAddr>,
        is_switching: bool,
    },
    /// The address names another failover IP, or is one of a subnet.
    Misnamed(Problem),
}

/// A server of the account.
#[derive(Debug, Clone)]
pub struct Server {
    pub number: Option<u64>,
    addresses: Vec<IpAddr>,
}

impl Server {
    /// Whether this is its main address, or within its IPv6 network.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|known| is_same_network(*known, address))
    }
}

impl Reader<'_> {
    /// What the answer to a `GET` of the failover IP says.
    pub fn survey(&self, answer: &Answer) -> Access<FailoverFound> {
        if let Some(refusal) = self.refusal(answer) {
            return refusal;
        }
        match self.failover(answer) {
            Ok(Failover { active, state }) => Access::Granted(FailoverFound::Here {
                netmask: netmask(answer),
                active,
                is_switching: state == State::Processing,
            }),
            Err(problem) if problem.is_about_ip() => {
                Access::Granted(FailoverFound::Misnamed(Problem::new(problem)))
            }
            Err(problem) => Access::Unusable(Problem::new(problem)),
        }
    }

    /// What the answer to `GET /server` says.
    pub fn servers(&self, answer: &Answer) -> Access<Vec<Server>> {
        if let Some(refusal) = self.refusal(answer) {
            return refusal;
        }
        match serde_json::from_slice(answer.body) {
            Ok(Value::Array(servers)) => Access::Granted(servers.iter().map(server).collect()),
            Ok(_) | Err(_) => Access::Unusable(Problem::new(
                "the webservice's list of servers cannot be read",
            )),
        }
    }

    /// `None` if the request was granted.
    fn refusal<T>(&self, answer: &Answer) -> Option<Access<T>> {
        if let Some(problem) = self.limited(answer) {
            return Some(Access::Limited(Problem::new(problem)));
        }
        Some(match answer.status {
            200..=299 => return None,
            300..=399 => Access::Unusable(Problem::new(self.redirect(answer))),
            401 => Access::LoginRefused(Problem::new(self.login())),
            404 if self.code(answer).is_some() => Access::NotFound(self.status(answer)),
            _ => Access::Unusable(self.status(answer)),
        })
    }
}

fn netmask(answer: &Answer) -> Option<IpAddr> {
    let body: Value = serde_json::from_slice(answer.body).ok()?;
    body["failover"]["netmask"].as_str()?.parse().ok()
}

fn server(object: &Value) -> Server {
    let server = &object["server"];
    let address = |member: &str| server[member].as_str()?.parse().ok();
    Server {
        number: server["server_number"].as_u64(),
        addresses: [address("server_ip"), address("server_ipv6_net")]
            .into_iter()
            .flatten()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader<'static> {
        Reader {
            failover_ip: "4.4.4.4".parse().unwrap(),
            ours: "1.1.1.1".parse().unwrap(),
            is_custom: false,
            sent_from: None,
            secrets: &[],
        }
    }

    fn survey(status: u16, body: &str) -> String {
        let answer = Answer {
            status,
            location: None,
            body: body.as_bytes(),
        };
        match reader().survey(&answer) {
            Access::Granted(FailoverFound::Here {
                netmask,
                active,
                is_switching,
            }) => format!("here {netmask:?} {active:?} {is_switching}"),
            Access::Granted(FailoverFound::Misnamed(_)) => "misnamed".into(),
            Access::LoginRefused(_) => "login".into(),
            Access::Limited(_) => "limited".into(),
            Access::NotFound(_) => "not found".into(),
            Access::Unusable(_) => "unusable".into(),
        }
    }

    #[test]
    fn each_answer_tells_something_else() {
        let error = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\"}}}}");
        for (status, body, expected) in [
            (
                200,
                r#"{"failover":{"active_server_ip":null}}"#.into(),
                "here None None false",
            ),
            (
                200,
                r#"{"failover":{"ip":"4.4.4.4","netmask":"255.255.255.255","status":"processing",
                    "active_server_ip":"2.2.2.2"}}"#
                    .into(),
                "here Some(255.255.255.255) Some(2.2.2.2) true",
            ),
            (
                200,
                r#"{"failover":{"ip":"4.4.4.0","netmask":"255.255.255.248",
                    "active_server_ip":null}}"#
                    .into(),
                "misnamed",
            ),
            (200, "<html>".into(), "unusable"),
            (401, String::new(), "login"),
            (403, String::new(), "limited"),
            (403, error("RATE_LIMIT_EXCEEDED"), "limited"),
            (429, String::new(), "limited"),
            (404, error("NOT_FOUND"), "not found"),
            (404, String::new(), "unusable"),
            (302, String::new(), "unusable"),
            (503, String::new(), "unusable"),
        ] {
            assert_eq!(survey(status, &body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_server_is_known_by_its_address_and_by_its_network() {
        let body = br#"[{"server":{"server_ip":"1.1.1.1","server_ipv6_net":"2a01:4f8:1::",
            "server_number":7}},{"server":{"server_ip":null,"server_ipv6_net":null}},{}]"#;
        let answer = Answer {
            status: 200,
            location: None,
            body,
        };
        let Access::Granted(servers) = reader().servers(&answer) else {
            panic!("not granted");
        };
        let has = |address: &str| servers[0].has(address.parse().unwrap());
        assert!(has("1.1.1.1") && has("2a01:4f8:1::") && !has("2.2.2.2"));
        assert_eq!((servers.len(), servers[0].number), (3, Some(7)));
    }
}
