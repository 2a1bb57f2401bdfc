//! What a node's log says about it.

use std::time::{Duration, Instant};

use testbed::uwsgi::Log;

/// How a node stands for election, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Voter,
    LastResort,
    Sick,
    Fit,
    Holder,
}

const LORD: &str = "i am now the Lord of the Legion failover";

/// Lines after which a node is Lord, or not.
const LORDSHIP: [(&str, bool); 7] = [
    (LORD, true),
    ("a new Lord (valor", false),
    ("i cannot be The Lord", false),
    ("it has to become Lord again", false),
    ("becoming Lord again", false),
    ("routing it back (", false),
    ("spawned uWSGI master process", false),
];

/// Lines after which it stands like this.
const STANDINGS: [(&str, Standing); 6] = [
    (": this node votes, but ", Standing::Voter),
    ("standing for election again, because", Standing::LastResort),
    ("stepping back while sick", Standing::Sick),
    ("back to normal: this node stands", Standing::Fit),
    ("this node stays Lord even if", Standing::Holder),
    ("spawned uWSGI master process", Standing::Fit),
];

/// uWSGI handles SIGHUP from here on (`core/master.c`). Before, it would end.
const STARTED: &str = "legion manager thread enabled";
/// It does not until then, once it reloads.
const RELOADING: &str = "binary reloading uWSGI";

/// A node as its log shows it.
pub struct View {
    log: Log,
    read: usize,
    pub is_lord: bool,
    pub has_started: bool,
    pub standing: Standing,
}

impl View {
    pub fn of(log: Log) -> View {
        View {
            log,
            read: 0,
            is_lord: false,
            has_started: false,
            standing: Standing::Fit,
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Reads on, and returns the new lines.
    pub fn read(&mut self) -> Vec<(Instant, String)> {
        let read = self.read;
        let news = self.log.wait_until(Duration::ZERO, |lines| {
            Some(lines.get(read..).unwrap_or_default().to_vec())
        });
        let news = news.unwrap_or_default();
        self.read += news.len();
        for (_, line) in &news {
            self.learn(line);
        }
        news
    }

    fn learn(&mut self, line: &str) {
        if let Some((_, is_lord)) = LORDSHIP.iter().find(|(part, _)| line.contains(part)) {
            self.is_lord = *is_lord;
        }
        if let Some((_, standing)) = STANDINGS.iter().find(|(part, _)| line.contains(part)) {
            self.standing = *standing;
        }
        if line.contains(STARTED) {
            self.has_started = true;
        } else if line.contains(RELOADING) {
            self.has_started = false;
        }
    }
}

/// A success that a line of the log claims.
#[derive(Debug, PartialEq)]
pub struct Claimed<'a> {
    pub ip: &'a str,
    pub server: &'a str,
    /// How long its takeover took. The line may come later: all addresses of one action are waited for.
    pub after: Duration,
}

pub fn claim(line: &str) -> Option<Claimed<'_>> {
    if line.contains("WARNING") || line.contains("ERROR") {
        return None;
    }
    let (ip, rest) = line.split_once(" is routed to ")?;
    let ip = of_action(ip)?;
    let (server, rest) = rest.split_once(" (after ")?;
    let (seconds, _) = rest.split_once(" s")?;
    let after = Duration::from_secs_f64(seconds.parse().ok()?);
    Some(Claimed { ip, server, after })
}

/// Whether a takeover begins with this line.
pub fn begins_takeover(line: &str) -> bool {
    let server = of_action(line).and_then(|rest| rest.split_once(" -> "));
    // The first line ends there, and an IPv6 address contains no ": ".
    server.is_some_and(|(_, server)| !server.contains(": "))
}

/// What an action logs, without its name.
fn of_action(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("[hetzner-")?.split_once("] ")?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_claims_a_server() {
        for (line, claimed) in [
            (
                "[hetzner-failoverip] 4.4.4.4 is routed to 1.1.1.1 (after 1.0 s, 1 request)",
                Some(("4.4.4.4", "1.1.1.1", 1.0)),
            ),
            (
                "[hetzner-aliasip] 10.0.0.100 is routed to server 42 (after 21.5 s, 9 requests)",
                Some(("10.0.0.100", "server 42", 21.5)),
            ),
            (
                "[hetzner-failoverip] ERROR 4.4.4.4 is not routed to 1.1.1.1: x (y)",
                None,
            ),
            (
                "[hetzner-failoverip] WARNING 4.4.4.4 is routed to 1.1.1.1, unconfirmed: x (y)",
                None,
            ),
        ] {
            let claimed = claimed.map(|(ip, server, after)| Claimed {
                ip,
                server,
                after: Duration::from_secs_f64(after),
            });
            assert_eq!(claim(line), claimed, "{line}");
        }
    }

    #[test]
    fn a_takeover_begins_with_its_first_line() {
        let line = "[hetzner-failoverip] 4.4.4.4 -> 2.2.2.2";
        assert!(begins_takeover(line));
        assert!(!begins_takeover(&format!(
            "{line}: still waiting after 10 s"
        )));
        let line = "[hetzner-floatingip] 2a01:4f8:1c0c:: -> server node1";
        assert!(begins_takeover(line));
    }

    #[test]
    fn a_log_tells_who_is_lord_and_how_a_node_stands() {
        let text = "[uwsgi-legion] i am now the Lord of the Legion failover\n\
                    [hetzner] legion \"failover\": stepping back while sick: this node stands for\n\
                    [uwsgi-legion] a new Lord (valor: 9998 uuid: x) raised for Legion failover...\n";
        let mut view = View::of(Log::follow(text.as_bytes()));
        assert!(view.log.wait_for_end(Duration::from_secs(60)));
        assert_eq!(view.read().len(), 3);
        assert!(!view.is_lord);
        assert_eq!(view.standing, Standing::Sick);
        assert!(view.read().is_empty());
    }
}
