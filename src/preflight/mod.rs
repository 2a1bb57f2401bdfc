//! Reports misconfiguration at boot: checks every `hetzner-*` hook of every legion, and the plugin's
//! options.

mod election;

use std::ffi::CStr;
use std::fmt::Display;
use std::net::IpAddr;

use crate::http;
use crate::order::health::{self, HealthCheck};
use crate::order::{self, Action, Mistake, Needs, Order, Reason, Trust};
use crate::text::printable;
use crate::uwsgi::settings::{announce_interval, cycle_interval, tolerance};
use crate::uwsgi::{self, Hook, Legion};

/// The legion action that logs a report at every start.
pub const CHECK_ACTION: &CStr = c"hetzner-check";
/// The options of the plugin.
pub const HEALTH_OPTION: &CStr = c"hetzner-health";
pub const NO_PREEMPT_OPTION: &CStr = c"hetzner-nopreempt";
/// The prefix of this plugin's actions.
const OURS: &str = "hetzner-";

/// A shorter secret may occur in another value by chance.
const LEAST_SECRET: usize = 6;

/// The values of the plugin's options, as configured.
#[derive(Clone)]
pub struct Options {
    pub health: Vec<Vec<u8>>,
    pub no_preempt: Vec<Vec<u8>>,
}

impl Options {
    pub const fn new() -> Options {
        Options {
            health: Vec::new(),
            no_preempt: Vec::new(),
        }
    }
}

/// What the check found.
#[derive(Default)]
pub struct Findings {
    /// One line each. If there is one, uWSGI must not start.
    pub mistakes: Vec<String>,
    /// One line each.
    pub warnings: Vec<String>,
    /// The legions that have a hook or an option of this plugin.
    pub legions: Vec<Legion>,
    /// The legions whose Lord stays Lord.
    pub no_preempt: Vec<Legion>,
    pub checks: Vec<(Legion, HealthCheck)>,
}

/// Checks everything that can be checked before a takeover.
pub fn check(options: &Options) -> Findings {
    let mut findings = Findings::default();
    let legions = uwsgi::legions();
    for &legion in &legions {
        let ours = hooks_of_ours(legion);
        for hook in &ours {
            findings.check_hook(&legion.name(), hook);
        }
        findings.check_contradictions(&legion.name(), &ours);
        if !ours.is_empty() {
            findings.check_election(legion, &ours);
            findings.legions.push(legion);
        }
    }
    for value in &options.health {
        findings.check_health(value, &legions);
    }
    for value in &options.no_preempt {
        findings.check_no_preempt(value, &legions);
    }
    if !findings.legions.is_empty() {
        findings.check_tolerance(announce_interval(), tolerance());
        findings.check_cycle(cycle_interval(), announce_interval(), tolerance());
    }
    findings
}

/// The secret in the first `legion` option, if it is long enough to be recognized elsewhere.
fn legion_secret() -> Option<String> {
    let legion = uwsgi::settings::option(c"legion")?;
    let cipher_and_secret = legion.split(' ').nth(3)?;
    let (_, secret) = cipher_and_secret.split_once(':')?;
    (secret.len() >= LEAST_SECRET).then(|| secret.to_string())
}

/// The hooks of a legion that call an action of ours, or one that is taken for one.
pub fn hooks_of_ours(legion: Legion) -> Vec<Hook> {
    let mut hooks = legion.hooks();
    hooks.retain(|hook| hook.action.starts_with(OURS));
    hooks
}

/// The addresses that two lord hooks route, and why that is a mistake: each would undo the other's route, or wait
/// for it.
pub fn contradictions(hooks: &[Hook]) -> Vec<(IpAddr, String)> {
    let mut known: Vec<Order> = Vec::new();
    let mut found = Vec::new();
    for hook in hooks.iter().filter(|hook| hook.event == "lord") {
        let orders = order::of_action(&hook.action, &hook.argument);
        for order in &orders {
            let Some(other) = known.iter().find(|known| known.contradicts(order)) else {
                continue;
            };
            let (ip, one, two) = (order.ip, other.server(), order.server());
            let which = match (other.action == order.action, one == two) {
                (true, true) => String::new(),
                (true, false) => format!(" to different servers, {one} and {two}"),
                (false, _) => format!(", {} and {}", other.action, order.action),
            };
            found.push((
                ip,
                format!("two hooks route {ip}{which}: remove one of them"),
            ));
        }
        known.extend(orders);
    }
    found
}

impl Findings {
    pub(crate) fn check_hook(&mut self, legion: &str, hook: &Hook) {
        let place = format!("legion \"{legion}\", legion-{}", hook.event);
        if hook.action.as_bytes() == CHECK_ACTION.to_bytes() {
            return self.check_check(&place, hook);
        }
        let Some(action) = Action::parse(&hook.action) else {
            self.mistakes.push(format!(
                "{place}: {}: unknown action; there are hetzner-failoverip, hetzner-floatingip, \
                 hetzner-aliasip and hetzner-check",
                hook.action
            ));
            return;
        };
        let line = |what: &dyn Display| format!("{place}: {}: {what}", hook.action);
        if let Some(secret) = legion_secret() {
            let is_inserted = hook
                .argument
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            let keys = order::keys_with(action, &hook.argument, secret.as_bytes());
            if is_inserted {
                let what = match &keys[..] {
                    [] => "it".into(),
                    keys => keys.join(", ") + ":",
                };
                self.mistakes.push(line(&format_args!(
                    "{what} contains the secret of a legion: in an ini file %(legion) inserts the value \
                     of that option; write %% for a percent sign"
                )));
            }
        }
        // What the addresses have in common is said once.
        let mut add = |list: fn(&mut Findings) -> &mut Vec<String>, what: &dyn Display| {
            let line = line(what);
            let list = list(self);
            if !list.contains(&line) {
                list.push(line);
            }
        };
        let needs = order::needs(action, &hook.argument);
        let orders = order::parse(action, &hook.argument);
        // With a mistake in it, whether the system's store is needed is not known.
        let is_https = |orders: &Vec<Order>| orders.iter().any(|order| order.url().is_https());
        let needs_store = orders.as_ref().is_ok_and(is_https);
        match orders {
            Ok(orders) => {
                for order in &orders {
                    for warning in order.warnings() {
                        add(|findings| &mut findings.warnings, &warning);
                    }
                    if let Err(error) = http::proxy_for(order.url()) {
                        add(|findings| &mut findings.mistakes, &error);
                    }
                }
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    add(|findings| &mut findings.mistakes, &mistake);
                }
            }
        }
        for mistake in unmet(needs, needs_store) {
            add(|findings| &mut findings.mistakes, &mistake);
        }
    }

    fn check_contradictions(&mut self, legion: &str, hooks: &[Hook]) {
        let found = contradictions(hooks);
        let lines = found
            .into_iter()
            .map(|(_, reason)| format!("legion \"{legion}\", legion-lord: {reason}"));
        self.mistakes.extend(lines);
    }

    fn check_check(&mut self, place: &str, hook: &Hook) {
        let action = &hook.action;
        if hook.event != "setup" {
            self.mistakes.push(format!(
                "{place}: {action}: this action is for legion-setup only: it runs once, at the start"
            ));
        }
        if !hook.argument.is_empty() {
            self.mistakes.push(format!(
                "{place}: {action}: takes no argument: write {action}: alone"
            ));
        }
    }

    /// The legion of an option, if there is one of this name.
    fn legion_of(&mut self, option: &CStr, name: &str, legions: &[Legion]) -> Option<Legion> {
        let option = option.to_string_lossy();
        let found = legions.iter().find(|legion| legion.name() == name);
        match (name, found) {
            ("", _) => self
                .mistakes
                .push(format!("{option}: must start with the name of a legion")),
            (_, None) => self.mistakes.push(format!(
                "{option}: there is no legion \"{name}\" in this configuration"
            )),
            (_, Some(_)) => {}
        }
        let legion = *found?;
        if !self.legions.contains(&legion) {
            self.legions.push(legion);
            self.check_valor(name, legion.valor());
        }
        self.check_effect(&option, name, legion.valor());
        Some(legion)
    }

    fn check_health(&mut self, value: &[u8], legions: &[Legion]) {
        let (name, rest) = health::split_legion(value);
        let legion = self.legion_of(HEALTH_OPTION, &name, legions);
        // Without a name, the rest may be anything. With an unknown one, it is checked nevertheless.
        if name.is_empty() {
            return;
        }
        let place = format!("legion \"{name}\", {}", HEALTH_OPTION.to_string_lossy());
        match HealthCheck::parse(rest) {
            Ok(check) => {
                let files = http::tls_config(&check.trust, check.is_https()).err();
                self.mistakes
                    .extend(files.map(|error| format!("{place}: {error}")));
                if check.trust == Trust::Anyone {
                    self.warnings.push(format!(
                        "{place}: ssl_no_verify is on: the answer may come from anyone"
                    ));
                }
                self.checks.extend(legion.map(|legion| (legion, check)));
            }
            Err(mistakes) => self
                .mistakes
                .extend(mistakes.iter().map(|mistake| format!("{place}: {mistake}"))),
        }
    }

    fn check_no_preempt(&mut self, value: &[u8], legions: &[Legion]) {
        let name = printable(value.trim_ascii());
        let legion = self.legion_of(NO_PREEMPT_OPTION, &name, legions);
        self.no_preempt.extend(legion);
    }
}

/// What is wrong with the files and the alarm of an argument.
fn unmet(needs: Needs, needs_store: bool) -> Vec<String> {
    let secret = needs.secret.and_then(|secret| secret.check_file());
    let store = http::tls_config(&needs.trust, needs_store).err();
    let alarms = uwsgi::alarm::names();
    let alarm = check_alarm(needs.alarm.as_deref(), alarms.as_deref());
    let found = [
        secret.map(|mistake| mistake.to_string()),
        store.map(|error| error.to_string()),
        alarm.map(|mistake| mistake.to_string()),
    ];
    found.into_iter().flatten().collect()
}

/// uWSGI ignores an alarm that does not exist. `None`: it does not tell which do.
fn check_alarm(alarm: Option<&[u8]>, alarms: Option<&[Vec<u8>]>) -> Option<Mistake> {
    let alarm = alarm?;
    let is_there = alarms?.iter().any(|known| known == alarm);
    (!is_there).then(|| Mistake::new("alarm", Reason::NoSuchAlarm(printable(alarm))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(action: &str, argument: &str) -> Findings {
        let mut findings = Findings::default();
        let hook = Hook {
            event: "lord",
            action: action.into(),
            argument: argument.into(),
            place: 0,
        };
        findings.check_hook("failover", &hook);
        findings
    }

    #[test]
    fn a_mistake_names_legion_hook_action_and_key() {
        let found = findings("hetzner-failoverip", "user=A,pass=B,ip=x,active_ip=1.1.1.1");
        assert_eq!(
            found.mistakes,
            [
                "legion \"failover\", legion-lord: hetzner-failoverip: ip: `x` is not an IP address: \
              write it without a name or a port"
            ]
        );
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        let argument = "user=A,password_file=/nonexistent/p,ip=10.0.0.1 x 192.168.1.1,\
                        active_ip=1.1.1.1,ca_file=/nonexistent/ca";
        let found = findings("hetzner-failoverip", argument).mistakes;
        let expected = [
            "10.0.0.1 is not a public",
            "`x` is not an IP",
            "192.168.1.1 is not a public",
            "password_file: /nonexistent/p cannot be read",
            "ca_file: /nonexistent/ca cannot be read",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn an_unknown_action_of_ours_is_a_mistake() {
        let found = findings("hetzner-failover", "");
        assert!(found.mistakes[0].contains("hetzner-failover: unknown action"));
    }

    #[test]
    fn an_alarm_that_does_not_exist_is_a_mistake() {
        let usual = "user=A,pass=B,ip=4.4.4.4,active_ip=1.1.1.1";
        let order = |more: &str| Order::parse(format!("{usual}{more}").as_bytes()).unwrap();
        let alarms = [b"other".to_vec(), b"pager".to_vec()];
        let mistake = |more, alarms| {
            let mistake = check_alarm(order(more).alarm.as_deref(), alarms);
            mistake.map_or(String::new(), |mistake| mistake.to_string())
        };
        assert_eq!(mistake("", Some(&alarms[..])), "");
        assert_eq!(mistake(",alarm=pager", Some(&alarms[..])), "");
        assert!(mistake(",alarm=page", Some(&alarms[..])).contains("no alarm `page`"));
        assert!(mistake(",alarm=page", Some(&[])).contains("no alarm `page`"));
        assert_eq!(mistake(",alarm=page", None), "");
    }

    #[test]
    fn the_check_is_for_the_start_and_takes_no_argument() {
        let found = findings("hetzner-check", "x");
        assert_eq!(found.mistakes.len(), 2);
        assert!(found.mistakes[0].contains("legion-setup only"));
        assert!(found.mistakes[1].contains("no argument"));
    }

    #[test]
    fn a_warning_names_its_place() {
        let argument = "user=A,pass=B,ip=4.4.4.4,active_ip=1.1.1.1,ssl_no_verify";
        let found = findings("hetzner-failoverip", argument);
        assert!(found.mistakes.is_empty());
        assert!(found.warnings[0].starts_with("legion \"failover\", legion-lord: "));
    }
}
