//! `hetzner-failoverip`: failover IPs of dedicated servers, by the Robot webservice.

use std::net::IpAddr;
use std::time::Duration;

use super::check::{Checker, Defaults};
use super::keys::RawKeys;
use super::values::{is_public, subnet, username};
use super::{Action, Mistake, Order, Reason, SecretSource, Service, Url};

/// The address of Hetzner's webservice, to which the failover IP is appended.
const ROBOT: &str = "https://robot-ws.your-server.de/failover/";
/// What stands for the failover IP in `url`.
const PLACEHOLDER: &str = "{ip}";

/// A switch takes up to 110 s, and two may follow each other.
const DEFAULTS: Defaults = Defaults {
    timeout: Duration::from_secs(60),
    deadline: Duration::from_secs(300),
    watch: Duration::from_secs(300),
    min_watch: 60,
};

/// The Robot webservice, and the server that is to receive the failover IP.
#[derive(Debug)]
pub struct Robot {
    pub username: Vec<u8>,
    pub password: SecretSource,
    /// The main IP of the server that is to receive it.
    pub active_ip: IpAddr,
    /// The failover IP's resource.
    pub url: Url,
}

/// The orders, if all required values are valid. Whatever is not valid is added to the mistakes.
pub fn validate(mut keys: RawKeys, mistakes: &mut Vec<Mistake>) -> Option<Vec<Order>> {
    let mut check = Checker { mistakes };
    let username = check.required("username", keys.remove("username"), username);
    let password = check.secret("password", "password_file", &mut keys, |_| Ok(()));
    let template = keys.remove("url");
    let is_hetzner = template.is_none();
    let main_ip = |text: &[u8]| match subnet(text)? {
        ip if is_hetzner && !is_public(ip) => Err(Reason::NotPublic(ip)),
        ip => Ok(ip),
    };
    let ips = check.addresses("ip", keys.remove("ip"), main_ip);
    let servers = check.addresses("active_ip", keys.remove("active_ip"), main_ip);
    let pairs = ips.zip(servers);
    let pairs = pairs.and_then(|(ips, servers)| check.pairs(&ips, &servers));
    let given = template.is_some();
    let template = check.optional("url", template, |text| {
        // With the placeholder in it, it is not a URL yet.
        Url::parse(fill(text, "4.4.4.4").as_bytes())?;
        Ok(text.to_vec())
    });
    let several = pairs.as_ref().is_some_and(|pairs| pairs.len() > 1);
    if several && template.as_ref().is_some_and(|text| !has_placeholder(text)) {
        check.mistake("url", Reason::OneUrlForAll);
    }
    let common = check.common(&mut keys, &DEFAULTS);
    let mut orders = Vec::new();
    let (username, password) = (username?, password?);
    for (ip, active_ip) in pairs? {
        let url = match (&template, given) {
            (Some(template), _) => fill(template, &ip.to_string()),
            (None, true) => return None,
            (None, false) => format!("{ROBOT}{ip}"),
        };
        // The address may make it invalid, such as an IPv6 address as the host.
        let url = check.optional("url", Some(url.into_bytes()), Url::parse)?;
        if orders.is_empty() {
            check.family(&common, "url", &url);
        }
        let robot = Robot {
            username: username.clone(),
            password: password.clone(),
            active_ip,
            url,
        };
        orders.push(common.order(Action::Failover, ip, Service::Robot(robot)));
    }
    Some(orders)
}

fn has_placeholder(template: &[u8]) -> bool {
    String::from_utf8_lossy(template).contains(PLACEHOLDER)
}

fn fill(template: &[u8], ip: &str) -> String {
    String::from_utf8_lossy(template).replace(PLACEHOLDER, ip)
}

impl Checker<'_> {
    /// Each failover IP with the address of this server that is of its family.
    fn pairs(&mut self, ips: &[IpAddr], servers: &[IpAddr]) -> Option<Vec<(IpAddr, IpAddr)>> {
        let before = self.mistakes.len();
        for (index, server) in servers.iter().enumerate() {
            let same_family = |other: &&IpAddr| other.is_ipv4() == server.is_ipv4();
            if let Some(first) = servers[..index].iter().find(same_family) {
                let (first, second) = (*first, *server);
                self.mistake("active_ip", Reason::SecondServer { first, second });
            }
            if !ips.iter().any(|ip| same_family(&ip)) {
                let (ip, active_ip) = (ips[0], *server);
                self.mistake("active_ip", Reason::OtherFamily { ip, active_ip });
            }
            if ips.contains(server) {
                self.mistake("active_ip", Reason::SameAddress(*server));
            }
        }
        let mut pairs = Vec::new();
        for ip in ips {
            match servers
                .iter()
                .find(|server| server.is_ipv4() == ip.is_ipv4())
            {
                Some(server) => pairs.push((*ip, *server)),
                None if self.mistakes.len() == before => {
                    self.mistake("active_ip", Reason::NoServer(*ip));
                }
                None => {}
            }
        }
        (self.mistakes.len() == before).then_some(pairs)
    }
}
