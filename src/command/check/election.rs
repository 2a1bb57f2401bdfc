//! Facts about a legion: whether it will elect a Lord.

use crate::command::report::{Fact, Level, Place, Sink, Topic};
use crate::preflight::Findings;
use crate::text::printable;
use crate::uwsgi::{Hook, Legion, legacy_cipher, settings};

/// Reports each fact of a legion. The faults, and their wording, are those of the boot; its lines
/// are added to `known`.
pub fn check(legion: Legion, ours: &[Hook], known: &mut Vec<String>, sink: Sink) {
    let name = legion.name();
    let (peers, quorum) = legion.electorate();
    let addresses = legion.peer_addresses();
    let is_multicast = addresses.iter().any(|peer| peer.resolved.is_multicast());
    let mut part = |topic, good: String, check: &dyn Fn(&mut Findings)| {
        let mut findings = Findings::default();
        check(&mut findings);
        report(&name, topic, good, &findings, sink);
        known.extend(findings.mistakes.into_iter().chain(findings.warnings));
    };
    let (interval, tolerance) = (settings::announce_interval(), settings::tolerance());
    match is_multicast {
        true => part(
            Topic::Quorum,
            format!(
                "{quorum}; not checked, because the nodes of a multicast legion are not listed"
            ),
            &|_| {},
        ),
        false => part(Topic::Quorum, election(peers, quorum), &|found| {
            found.check_quorum(&name, peers, quorum);
        }),
    }
    part(
        Topic::Tolerance,
        format!(
            "a node is dropped after {} s of silence; it announces itself every {} s",
            tolerance.as_secs(),
            interval.as_secs()
        ),
        &|found| found.check_tolerance(interval, tolerance),
    );
    let own = legion.address();
    part(
        Topic::LegionAddress,
        format!("listens on {}", printable(own.as_bytes())),
        &|found| found.check_own_address(&name, &own),
    );
    let texts: Vec<String> = addresses
        .iter()
        .map(|peer| printable(peer.text.as_bytes()))
        .collect();
    let listed = match texts.len() {
        0 => "this legion has no other nodes".into(),
        _ => format!("announces itself to {}", texts.join(", ")),
    };
    part(Topic::Peers, listed, &|found| {
        for peer in &addresses {
            found.check_peer_address(&name, peer);
        }
    });
    let valor = legion.valor();
    let stands = match valor {
        0 => "0: this node votes, and never becomes Lord".into(),
        _ => valor.to_string(),
    };
    part(Topic::Valor, stands, &|found| {
        found.check_valor(&name, valor);
    });
    let cipher = legacy_cipher::name(legion.cipher_context());
    let cipher = cipher.unwrap_or_else(|| "set up".into());
    part(Topic::Cipher, cipher, &|found| {
        found.check_cipher(&name, legion);
    });
    if ours.iter().any(|hook| hook.event == "lord") {
        let seconds = settings::death_on_lord_error().map_or(0, |span| span.as_secs());
        part(
            Topic::Suspension,
            format!("after a failed takeover this node steps back for {seconds} s"),
            &|found| found.check_suspension(&name, seconds),
        );
    }
}

fn election(peers: usize, quorum: i32) -> String {
    match peers {
        0 => "this node is alone, and elects itself".into(),
        _ => format!("{quorum} of {} nodes elect a Lord", peers + 1),
    }
}

fn report(legion: &str, fact: Topic, good: String, findings: &Findings, sink: Sink) {
    let beginning = format!("legion \"{legion}\"");
    let text = |line: &String| {
        let rest = line.strip_prefix(&beginning).unwrap_or(line);
        rest.trim_start_matches([':', ',', ' ']).to_string()
    };
    let mut add = |level, text| {
        sink(Fact {
            place: Place::legion(legion),
            fact,
            level,
            text,
        });
    };
    for line in &findings.mistakes {
        add(Level::Error, text(line));
    }
    for line in &findings.warnings {
        add(Level::Warning, text(line));
    }
    if findings.mistakes.is_empty() && findings.warnings.is_empty() {
        add(Level::Ok, good);
    }
}
