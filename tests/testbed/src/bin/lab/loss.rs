//! How often a node wrongly takes another for dead because announcements got lost.

use std::time::Duration;

use testbed::uwsgi::{Launch, Legion, Node, NodeConfig, Quality, Relay};

use crate::{Result, Tools};

/// The loss of the relay that the computation is checked with; with less it would take days.
pub const LOSS: f64 = 0.6;
/// How many announcements that is checked with, one each second, for each legion.
pub const ANNOUNCEMENTS: usize = 90;
/// The tolerances that it is checked for.
pub const TOLERANCES: [u32; 3] = [2, 3, 5];
/// How many legions have each of them.
pub const LEGIONS: u64 = 4;

/// The seconds between two false alarms: a node has lost that many announcements in a row, each with
/// this probability.
pub fn seconds_between_alarms(loss: f64, tolerance: u32, freq: u32) -> f64 {
    let in_a_row = (tolerance / freq) as i32;
    f64::from(freq) / ((1.0 - loss) * loss.powi(in_a_row))
}

/// What was seen on a lossy relay.
pub struct Alarms {
    /// As computed for so many announcements with independent losses.
    pub computed: f64,
    /// How often at least `legion-tolerance` announcements were lost in a row.
    pub runs: usize,
    /// How often at least one more was.
    pub longer_runs: usize,
    /// How often the sender was taken for dead.
    pub seen: usize,
}

/// Lets two nodes hear each other, one of them through a relay that loses packets, and counts how often
/// it takes the other for dead.
pub fn measure(tools: &Tools, tolerance: u32, seed: u64) -> Result<Alarms> {
    let legion = Legion::of(2);
    let quality = Quality {
        loss: LOSS,
        ..Quality::default()
    };
    let relay = Relay::seeded(legion.ports[1], seed);
    relay.set_quality(quality);
    let launch = Launch {
        uwsgi: tools.uwsgi.clone(),
        plugins_dir: None,
        farewell: None,
    };
    let start = |node| {
        let port = |peer: usize| {
            if peer == 1 {
                relay.port()
            } else {
                legion.ports[peer]
            }
        };
        let config = NodeConfig::without_plugin()
            .line(legion.member_via(node, port))
            .line(format!("legion-tolerance = {tolerance}"))
            .line("legion-freq = 1");
        Node::start(&launch, &config.ini())
    };
    let listener = start(1)?;
    let speaker = start(0)?;
    let patience = Duration::from_secs(3 * ANNOUNCEMENTS as u64);
    if !relay.wait_for_packets(ANNOUNCEMENTS as u64, patience) {
        return Err(format!("too few announcements:\n{}", speaker.log().text()).into());
    }
    let seen = listener.log().count("left Legion");
    let losses = quality.losses(seed, ANNOUNCEMENTS);
    let runs = |least: u32| runs_of_losses(&losses, least as usize);
    let (runs, longer_runs) = (runs(tolerance), runs(tolerance + 1));
    // The last run may not have been noticed yet.
    if seen + 1 < longer_runs || seen > runs {
        let log = listener.log().text();
        return Err(format!("{runs} runs of losses, but {seen} false alarms:\n{log}").into());
    }
    Ok(Alarms {
        computed: ANNOUNCEMENTS as f64 / seconds_between_alarms(LOSS, tolerance, 1),
        runs,
        longer_runs,
        seen,
    })
}

/// How often at least so many are lost in a row, after the first that is not.
fn runs_of_losses(losses: &[bool], least: usize) -> usize {
    let heard = losses.iter().position(|lost| !lost).unwrap_or(losses.len());
    let runs = losses[heard..].split(|lost| !lost);
    runs.filter(|run| run.len() >= least).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often that is.
    fn in_words(seconds: f64) -> String {
        let units = [
            (86400.0 * 365.25, "years"),
            (86400.0, "days"),
            (3600.0, "hours"),
            (60.0, "minutes"),
        ];
        let fits = units
            .into_iter()
            .find(|(length, _)| seconds >= 1.5 * length);
        let (length, unit) = fits.unwrap_or((1.0, "seconds"));
        match seconds / length {
            many if unit == "years" && many >= 1000.0 => "over 1000 years".into(),
            few if few < 10.0 => format!("{few:.1} {unit}"),
            number => format!("{number:.0} {unit}"),
        }
    }

    #[test]
    fn the_table_in_the_documents_is_right() {
        let document = include_str!("../../../../../docs/configuration.md");
        for (tolerance, freq) in [(2, 1), (3, 1), (5, 1), (10, 1), (15, 3), (60, 3)] {
            let times = [0.001, 0.01, 0.05]
                .map(|loss| in_words(seconds_between_alarms(loss, tolerance, freq)));
            let in_a_row = tolerance / freq;
            let row = format!(
                "| {tolerance} | {freq} | {in_a_row} | {} |\n",
                times.join(" | ")
            );
            assert!(document.contains(&row), "{row}");
        }
        // Both of two others, whose losses are independent.
        for tolerance in [2, 3] {
            let both = in_words(seconds_between_alarms(0.05 * 0.05, tolerance, 1));
            assert!(document.contains(&format!("once in {both}")), "{both}");
        }
    }

    #[test]
    fn runs_begin_after_the_first_that_is_heard() {
        let losses: Vec<bool> = "xx-xx-x--xxx".chars().map(|c| c == 'x').collect();
        assert_eq!(
            [1, 2, 3, 4].map(|least| runs_of_losses(&losses, least)),
            [3, 2, 1, 0]
        );
    }
}
