//! What a check finds: facts, each with its place and how bad it is.

use std::net::IpAddr;

use serde::Serialize;

/// How bad a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works, or may, and should be known.
    Warning,
    /// A failover cannot succeed.
    Error,
}

/// What a fact is about. The names are part of the interface: see the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Keys, options and files.
    Configuration,
    Quorum,
    Tolerance,
    /// The address that the legion listens on.
    LegionAddress,
    Peers,
    Valor,
    Cipher,
    /// `legion-death-on-lord-error`.
    Suspension,
    /// Whether the webservice can be reached.
    Service,
    Login,
    FailoverIp,
    /// Whether a Cloud address is in the token's project.
    Address,
    /// Where the failover IP is routed.
    Route,
    /// Whether `active_ip` is a server of the account.
    Server,
    /// Whether `active_ip` is this host's.
    Host,
    /// Whether the failover IP is configured on this host.
    Interface,
    /// From which address this host sends to the webservice.
    Source,
    Clock,
    RateLimit,
}

impl Topic {
    /// As it is written in reports.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Configuration => "configuration",
            Topic::Quorum => "quorum",
            Topic::Tolerance => "tolerance",
            Topic::LegionAddress => "legion-address",
            Topic::Peers => "peers",
            Topic::Valor => "valor",
            Topic::Cipher => "cipher",
            Topic::Suspension => "suspension",
            Topic::Service => "service",
            Topic::Login => "login",
            Topic::FailoverIp => "failover-ip",
            Topic::Address => "address",
            Topic::Route => "route",
            Topic::Server => "server",
            Topic::Host => "host",
            Topic::Interface => "interface",
            Topic::Source => "source",
            Topic::Clock => "clock",
            Topic::RateLimit => "rate-limit",
        }
    }
}

/// What of the configuration a fact belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    pub legion: Option<String>,
    /// `lord`, `setup`, ...
    pub hook: Option<&'static str>,
    pub action: Option<String>,
    pub ip: Option<IpAddr>,
}

impl Place {
    pub fn legion(name: &str) -> Place {
        Place {
            legion: Some(name.into()),
            ..Place::default()
        }
    }

    /// In the words of the configuration; empty for the whole of it.
    pub fn title(&self) -> String {
        let legion = self.legion.iter().map(|name| format!("legion \"{name}\""));
        let hook = self.hook.iter().zip(&self.action);
        let hook = hook.map(|(hook, action)| format!("legion-{hook}: {action}"));
        let ip = self.ip.iter().map(IpAddr::to_string);
        legion.chain(hook).chain(ip).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    #[serde(flatten)]
    pub place: Place,
    pub fact: Topic,
    pub level: Level,
    /// A sentence; where something is wrong, it says what to do.
    pub text: String,
}

/// Where facts go to, as they are found.
pub type Sink<'a> = &'a mut dyn FnMut(Fact);

/// How many facts are bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub errors: usize,
    pub warnings: usize,
}

impl Tally {
    pub fn count(&mut self, fact: &Fact) {
        match fact.level {
            Level::Ok => {}
            Level::Warning => self.warnings += 1,
            Level::Error => self.errors += 1,
        }
    }

    /// As the last line of a report.
    pub fn summary(&self) -> String {
        let number = |count: usize, noun: &str| match count {
            0 => format!("no {noun}s"),
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        let errors = number(self.errors, "error");
        format!("{errors}, {}", number(self.warnings, "warning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_alike_everywhere() {
        for topic in [
            Topic::Configuration,
            Topic::Quorum,
            Topic::Tolerance,
            Topic::LegionAddress,
            Topic::Peers,
            Topic::Valor,
            Topic::Cipher,
            Topic::Suspension,
            Topic::Service,
            Topic::Login,
            Topic::FailoverIp,
            Topic::Address,
            Topic::Route,
            Topic::Server,
            Topic::Host,
            Topic::Interface,
            Topic::Source,
            Topic::Clock,
            Topic::RateLimit,
        ] {
            assert_eq!(serde_json::to_value(topic).unwrap(), topic.name());
        }
    }

    #[test]
    fn a_place_is_named_as_in_the_configuration() {
        assert_eq!(Place::default().title(), "");
        let place = Place {
            legion: Some("failover".into()),
            hook: Some("lord"),
            action: Some("hetzner-failoverip".into()),
            ip: "4.4.4.4".parse().ok(),
        };
        let title = "legion \"failover\", legion-lord: hetzner-failoverip, 4.4.4.4";
        assert_eq!(place.title(), title);
    }

    #[test]
    fn the_summary_counts() {
        let summary = |errors, warnings| Tally { errors, warnings }.summary();
        assert_eq!(summary(0, 0), "no errors, no warnings");
        assert_eq!(summary(1, 2), "1 error, 2 warnings");
    }
}
