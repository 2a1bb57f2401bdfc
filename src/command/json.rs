//! A report for machines: one JSON object.

use serde::Serialize;

use super::report::{Fact, Tally};

#[derive(Serialize)]
struct Object<'a> {
    version: &'a str,
    errors: usize,
    warnings: usize,
    facts: &'a [Fact],
}

/// The whole report, in one line.
pub fn report(facts: &[Fact]) -> String {
    let mut tally = Tally::default();
    facts.iter().for_each(|fact| tally.count(fact));
    let object = Object {
        version: env!("CARGO_PKG_VERSION"),
        errors: tally.errors,
        warnings: tally.warnings,
        facts,
    };
    // It has neither maps with other keys than texts, nor anything that fails to be written.
    serde_json::to_string(&object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::report::{Level, Place, Topic};

    #[test]
    fn what_a_fact_does_not_have_is_null() {
        let facts = [
            Fact {
                place: Place::default(),
                fact: Topic::LegionAddress,
                level: Level::Warning,
                text: "a \"text\"".into(),
            },
            Fact {
                place: Place {
                    legion: Some("failover".into()),
                    hook: Some("lord"),
                    action: Some("hetzner-failoverip".into()),
                    ip: "4.4.4.4".parse().ok(),
                },
                fact: Topic::Login,
                level: Level::Error,
                text: "refused".into(),
            },
        ];
        let expected = format!(
            "{{\"version\":\"{}\",\"errors\":1,\"warnings\":1,\"facts\":[\
             {{\"legion\":null,\"hook\":null,\"action\":null,\"ip\":null,\
             \"fact\":\"legion-address\",\"level\":\"warning\",\"text\":\"a \\\"text\\\"\"}},\
             {{\"legion\":\"failover\",\"hook\":\"lord\",\"action\":\"hetzner-failoverip\",\
             \"ip\":\"4.4.4.4\",\"fact\":\"login\",\"level\":\"error\",\"text\":\"refused\"}}]}}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(report(&facts), expected);
    }
}
