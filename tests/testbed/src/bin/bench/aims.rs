//! What was aimed at, and whether it was met.

use crate::action::Series;
use crate::report::label;
use crate::{Figures, Result};

/// An aim, what was found, and whether that meets it.
pub struct Aim {
    pub what: &'static str,
    pub found: String,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    NotMeasured,
}

impl Aim {
    fn new(what: &'static str, found: String, met: bool) -> Aim {
        let verdict = match met {
            true => Verdict::Met,
            false => Verdict::Missed,
        };
        Aim {
            what,
            found,
            verdict,
        }
    }

    fn not_measured(what: &'static str, why: &str) -> Aim {
        Aim {
            what,
            found: why.into(),
            verdict: Verdict::NotMeasured,
        }
    }
}

const MIB: f64 = 1024.0 * 1024.0;

/// All aims.
pub fn of(figures: &Figures) -> Result<Vec<Aim>> {
    let mut aims = vec![near_the_least(figures), no_slower_than_curl(figures)];
    aims.extend(footprint(figures)?);
    aims.push(failover(figures));
    Ok(aims)
}

/// Why something is missing that takes a round-trip time.
fn no_link(figures: &Figures) -> &str {
    match &figures.how {
        Ok(_) => "that round-trip time could not be added",
        Err(why) => why,
    }
}

fn near_the_least(figures: &Figures) -> Aim {
    let what = "at 20 ms the action takes at most 1.05 x the least + 2 ms (median)";
    let mut all = figures.series.iter();
    let Some(series) = all.find(|series| series.added.as_millis() == 20) else {
        return Aim::not_measured(what, no_link(figures));
    };
    let (ours, least) = (series.ours.times.median(), series.least());
    let bound = 1.05 * least + 2.0;
    let found = format!("{ours:.1} ms, of {bound:.1} ms");
    Aim::new(what, found, ours <= bound)
}

fn no_slower_than_curl(figures: &Figures) -> Aim {
    let what = "never slower than curl (mean, median and 99th percentile)";
    let all = &figures.series;
    let slower: Vec<String> = all.iter().flat_map(slower_than_curl).collect();
    if !slower.is_empty() {
        return Aim::new(what, format!("slower: {}", slower.join("; ")), false);
    }
    let is_there = |added| all.iter().any(|series| series.added.as_millis() == added);
    match [20, 100].into_iter().all(is_there) {
        true => Aim::new(what, format!("faster in all {} rows", all.len()), true),
        false => Aim::not_measured(what, no_link(figures)),
    }
}

/// In which figures ours is, in words.
fn slower_than_curl(series: &Series) -> Vec<String> {
    let pairs = series.ours.times.summary().into_iter();
    let pairs = pairs.zip(series.curl.times.summary());
    let slower = pairs.filter(|((_, ours), (_, curl))| ours > curl);
    let words = slower.map(|((name, ours), (_, curl))| {
        format!("{}, {name}: {ours:.2} ms, curl {curl:.2} ms", label(series))
    });
    words.collect()
}

fn footprint(figures: &Figures) -> Result<[Aim; 4]> {
    let bare = figures.masters.bare()?;
    let most = figures.masters.most_of_ours(|master| master.resident)?;
    let grown = most.saturating_sub(bare.resident) as f64 / 1024.0;
    let threads = figures.masters.most_of_ours(|master| master.threads)?;
    let size = figures.size as f64 / MIB;
    let start = figures.starts.with.median() - figures.starts.without.median();
    Ok([
        Aim::new(
            "the plugin's file has at most 2 MiB",
            format!("{size:.2} MiB"),
            size <= 2.0,
        ),
        Aim::new(
            "after a takeover the master's resident memory is at most 4 MiB larger",
            format!("{grown:.1} MiB at most"),
            grown <= 4.0,
        ),
        Aim::new(
            "loading it adds at most 5 ms to the start (medians)",
            format!("{start:.1} ms"),
            start <= 5.0,
        ),
        Aim::new(
            "no thread is left between takeovers",
            format!("{threads} threads, without the plugin {}", bare.threads),
            threads <= bare.threads,
        ),
    ])
}

fn failover(figures: &Figures) -> Aim {
    let failovers = &figures.failovers;
    let (old, new) = (failovers.old.median(), failovers.new.median());
    let times = old / new;
    Aim::new(
        "a failover takes at most a fifth of the time with `legion-tolerance = 60` (medians)",
        format!(
            "{:.1} s and {:.1} s: {times:.1} times less",
            new / 1e3,
            old / 1e3
        ),
        times >= 5.0,
    )
}
