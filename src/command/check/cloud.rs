//! Facts about an address that the Cloud API can tell. Requests are few, and change nothing.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::Duration;

use super::link::{self, Clocks};
use crate::command::report::{Level, Topic};
use crate::history::History;
use crate::http::Link;
use crate::order::{Cloud, Named, Order};
use crate::provider::cloud::{
    self as api, AddressFound, ApiFailure, Kind, Resource, ServerFound, Survey,
};
use crate::secret::Secret;
use crate::sys;

/// How long the requests about an address may take.
const REQUESTS: Duration = Duration::from_secs(30);
/// With fewer requests left than this, a takeover may run out of them.
const FEW_REQUESTS: u64 = 100;

/// A fact without its place.
type Finding = (Topic, Level, String);

/// What was learnt of the projects so far, so that none is asked in vain.
#[derive(Default)]
pub struct Projects {
    /// Endpoints and tokens that nothing more is asked with.
    refused: Vec<(String, Secret)>,
    clocks: Clocks,
}

/// What the API has said of one address.
pub struct Told {
    pub findings: Vec<Finding>,
    /// How it was reached.
    pub link: Option<Link>,
}

impl Projects {
    /// Asks about the address of an order.
    pub fn check(&mut self, order: &Order, cloud: &Cloud, history: &History) -> Told {
        let alone = |topic, text| Told {
            findings: vec![(topic, Level::Error, text)],
            link: None,
        };
        let token = match cloud.token.get() {
            Ok(token) => token,
            Err(error) => return alone(Topic::Configuration, error.to_string()),
        };
        let endpoint = cloud.endpoint.as_uri().to_string();
        let is_refused = |(known, secret): &(String, Secret)| {
            *known == endpoint && secret.expose() == token.expose()
        };
        if self.refused.iter().any(is_refused) {
            let text =
                "not tried: the Cloud API has refused this token, or requests with it, before";
            return alone(Topic::Login, text.into());
        }
        let budget = history.budget(order);
        budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note_looks(sys::uptime(), 1);
        let survey = match api::survey(order, cloud, history.shared(), REQUESTS) {
            Ok(survey) => survey,
            Err(error) => return alone(Topic::Configuration, error.to_string()),
        };
        if survey.failures().any(ApiFailure::refuses_all) {
            self.refused.push((endpoint, token));
        }
        let mut findings = Vec::new();
        if let Some(link) = &survey.link {
            if !survey.failures().any(ApiFailure::has_no_answer) {
                findings.push(link::reached(order, link));
            }
        }
        findings.extend(facts(order, cloud, &survey));
        if let Some(link) = &survey.link {
            findings.extend(self.clocks.check(order, link));
            findings.extend(link::requests_left(link, FEW_REQUESTS));
        }
        Told {
            findings,
            link: survey.link,
        }
    }
}

/// What the answers say.
fn facts(order: &Order, cloud: &Cloud, survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    if survey.is_token_accepted {
        let text = "the Cloud API accepts the token; whether it may write shows only when it does";
        findings.push((Topic::Login, Level::Ok, text.into()));
    }
    findings.push(match &survey.server {
        Ok(found) => server(cloud, found),
        Err(failure) => failed(Topic::Server, failure),
    });
    match &survey.address {
        None => {}
        Some(Ok(found)) => {
            findings.push(address(order.ip, found));
            findings.push(route(order.ip, found));
        }
        Some(Err(failure)) => findings.push(failed(Topic::Address, failure)),
    }
    findings
}

fn server(cloud: &Cloud, found: &ServerFound) -> Finding {
    let by = match &cloud.server {
        None => "the metadata service says so",
        Some(Named::Id(_) | Named::Name(_)) => "by the key server",
    };
    let title = &found.title;
    match found.is_locked {
        false => (
            Topic::Server,
            Level::Ok,
            format!("this is {title} ({by}), a server of the token's project"),
        ),
        true => (
            Topic::Server,
            Level::Warning,
            format!(
                "this is {title} ({by}), which is locked now, for example by a backup: a takeover \
                 waits until that has ended"
            ),
        ),
    }
}

fn address(ip: IpAddr, found: &AddressFound) -> Finding {
    let title = match found.resource {
        Resource::FloatingIp(id) => format!("Floating IP {id}"),
        Resource::OfNetwork(id) => format!("an address of Network {id}"),
    };
    match found.is_blocked {
        false => (
            Topic::Address,
            Level::Ok,
            format!("{ip} is {title} of the token's project"),
        ),
        true => (
            Topic::Address,
            Level::Warning,
            format!("{ip} is {title}, which Hetzner has blocked: see the Cloud Console"),
        ),
    }
}

fn route(ip: IpAddr, found: &AddressFound) -> Finding {
    let (level, text) = match (&found.holder, found.is_here) {
        (None, _) => (
            Level::Warning,
            format!("{ip} is routed to no server; the next takeover routes it"),
        ),
        (Some(holder), Some(true)) => (
            Level::Ok,
            format!("{ip} is routed to {holder}, which is this server"),
        ),
        // No fault: this server may not be the Lord.
        (Some(holder), Some(false)) => (
            Level::Ok,
            format!("{ip} is routed to {holder}, not to this server"),
        ),
        (Some(holder), None) => (Level::Ok, format!("{ip} is routed to {holder}")),
    };
    (Topic::Route, level, text)
}

/// Why something is not known. `topic`: what was asked for.
fn failed(topic: Topic, failure: &ApiFailure) -> Finding {
    let problem = failure.problem();
    match failure {
        ApiFailure::Trouble(trouble) => match trouble.kind {
            Kind::Token => (Topic::Login, Level::Error, problem.to_string()),
            Kind::Limited => (Topic::RateLimit, Level::Warning, problem.to_string()),
            Kind::Final => (topic, Level::Error, problem.to_string()),
            Kind::Passing | Kind::Silent => {
                (topic, Level::Warning, format!("{problem}; try again later"))
            }
        },
        ApiFailure::Unreadable(_) => (
            topic,
            Level::Warning,
            format!("{problem}; check endpoint, or try again later"),
        ),
        ApiFailure::Certificate(_)
        | ApiFailure::NotConnected(_)
        | ApiFailure::Unanswered(_)
        | ApiFailure::OutOfTime(_) => (
            Topic::Service,
            Level::Error,
            format!("{problem}; check the network, the firewall and endpoint"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use testbed::cloud::{Access, Cloud as Mock, Refusal, Requests, Settings, When};

    use super::*;
    use crate::order::{self, Action, Service};

    fn order(cloud: &Mock, action: Action, ip: &str, keys: &str) -> Order {
        let argument = format!(
            "token={},endpoint={},ca_file={},ip={ip},{keys}",
            Settings::default().token,
            cloud.endpoint(),
            cloud.ca_file().display(),
        );
        order::parse(action, argument.as_bytes()).unwrap().remove(0)
    }

    fn check(projects: &mut Projects, order: &Order) -> Vec<Finding> {
        let Service::Cloud(cloud) = &order.service else {
            panic!("a Cloud address");
        };
        projects.check(order, cloud, &History::default()).findings
    }

    /// The facts of a first check, and that one of them is as expected.
    #[track_caller]
    fn has(findings: &[Finding], topic: Topic, level: Level, text: &str) {
        let is_it = |finding: &&Finding| {
            finding.0 == topic && finding.1 == level && finding.2.contains(text)
        };
        assert!(
            findings.iter().any(|finding| is_it(&finding)),
            "{findings:#?}"
        );
        let token = Settings::default().token;
        assert!(findings.iter().all(|(_, _, text)| !text.contains(&token)));
    }

    #[test]
    fn a_floating_ip_is_checked_with_two_requests_that_change_nothing() {
        let cloud = Mock::start(Settings::default()).unwrap();
        let order = order(&cloud, Action::Floating, "131.232.99.1", "server=43");
        let findings = check(&mut Projects::default(), &order);
        has(
            &findings,
            Topic::Service,
            Level::Ok,
            "its certificate is verified",
        );
        has(&findings, Topic::Login, Level::Ok, "accepts the token");
        has(
            &findings,
            Topic::Server,
            Level::Ok,
            "this is server node2 (43) (by the key",
        );
        has(
            &findings,
            Topic::Address,
            Level::Ok,
            "is Floating IP 4711 of the token's",
        );
        has(
            &findings,
            Topic::Route,
            Level::Ok,
            "to server 42, not to this server",
        );
        has(&findings, Topic::RateLimit, Level::Ok, "more requests");
        assert_eq!((cloud.requests().len(), cloud.posts()), (2, 0));
        cloud.set_holder(order.ip, Some(43));
        let findings = check(&mut Projects::default(), &order);
        has(
            &findings,
            Topic::Route,
            Level::Ok,
            "server node2 (43), which is this server",
        );
        cloud.set_holder(order.ip, None);
        let findings = check(&mut Projects::default(), &order);
        has(&findings, Topic::Route, Level::Warning, "to no server");
    }

    #[test]
    fn an_address_that_hetzner_has_blocked_is_a_warning() {
        let mut settings = Settings::default();
        settings.floating_ips[0].blocked = true;
        let cloud = Mock::start(settings).unwrap();
        let order = order(&cloud, Action::Floating, "131.232.99.1", "server=43");
        let findings = check(&mut Projects::default(), &order);
        has(
            &findings,
            Topic::Address,
            Level::Warning,
            "which Hetzner has blocked: see the Cloud Console",
        );
        assert!(findings.iter().all(|(_, level, _)| *level != Level::Error));
    }

    #[test]
    fn an_alias_ip_is_checked_with_its_network() {
        let cloud = Mock::start(Settings::default()).unwrap();
        let order = |ip, keys| order(&cloud, Action::Alias, ip, keys);
        let mut projects = Projects::default();
        let findings = check(&mut projects, &order("10.0.0.100", "server=node2"));
        has(
            &findings,
            Topic::Address,
            Level::Ok,
            "is an address of Network 7 of the",
        );
        has(
            &findings,
            Topic::Route,
            Level::Ok,
            "to server node1 (42), not to this",
        );
        assert_eq!((cloud.requests().len(), cloud.posts()), (3, 0));
        let findings = check(&mut projects, &order("10.1.0.1", "server=43"));
        has(
            &findings,
            Topic::Address,
            Level::Error,
            "attached to contains 10.1.0.1",
        );
        let findings = check(&mut projects, &order("10.0.0.100", "server=99"));
        has(
            &findings,
            Topic::Server,
            Level::Error,
            "there is no server 99",
        );
    }

    #[test]
    fn what_is_not_in_the_project_is_an_error() {
        let cloud = Mock::start(Settings::default()).unwrap();
        let order = order(&cloud, Action::Floating, "131.232.99.9", "server=node9");
        let findings = check(&mut Projects::default(), &order);
        has(
            &findings,
            Topic::Server,
            Level::Error,
            "there is no server node9",
        );
        has(
            &findings,
            Topic::Address,
            Level::Error,
            "there is no Floating IP 131.232.99.9",
        );
    }

    #[test]
    fn a_refused_token_is_tried_once() {
        let cloud = Mock::start(Settings::default()).unwrap();
        cloud.set_token("other");
        let mut projects = Projects::default();
        let first = order(&cloud, Action::Floating, "131.232.99.1", "server=43");
        has(
            &check(&mut projects, &first),
            Topic::Login,
            Level::Error,
            "check token",
        );
        let second = order(&cloud, Action::Alias, "10.0.0.100", "server=43");
        has(
            &check(&mut projects, &second),
            Topic::Login,
            Level::Error,
            "not tried",
        );
        assert_eq!(cloud.requests().len(), 1);
    }

    #[test]
    fn passing_trouble_is_a_warning_and_silence_an_error() {
        let cloud = Mock::start(Settings::default()).unwrap();
        cloud.set_access(Access::Read);
        let order = order(&cloud, Action::Floating, "131.232.99.1", "server=43");
        cloud.order(When::Once(Requests::FLOATING_IPS), Refusal::Unavailable);
        let findings = check(&mut Projects::default(), &order);
        has(&findings, Topic::Address, Level::Warning, "503 unavailable");
        cloud.order(When::Once(Requests::ALL), Refusal::RateLimitExceeded);
        let findings = check(&mut Projects::default(), &order);
        has(
            &findings,
            Topic::RateLimit,
            Level::Warning,
            "429 rate_limit_exceeded",
        );
        cloud.refuse_connections();
        let findings = check(&mut Projects::default(), &order);
        has(
            &findings,
            Topic::Service,
            Level::Error,
            "no connection to localhost",
        );
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
}
