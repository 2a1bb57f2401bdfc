//! What was aimed at, and whether it was met.

use crate::Figures;
use crate::action::Series;
use crate::report::label;

/// An aim, what was found, and whether that meets it.
pub struct Aim {
    pub what: &'static str,
    pub found: String,
    pub met: bool,
}

const MIB: f64 = 1024.0 * 1024.0;

/// All aims that the figures say something about.
pub fn of(figures: &Figures) -> Vec<Aim> {
    let mut aims = Vec::new();
    if let Some(series) = figures
        .series
        .iter()
        .find(|series| series.added.as_millis() == 20)
    {
        aims.push(near_the_least(series));
    }
    aims.push(no_slower_than_curl(&figures.series));
    if let Some(traffic) = &figures.traffic {
        let of = &traffic.confirmed;
        aims.push(Aim {
            what: "a confirming request reuses the connection",
            found: format!(
                "{} requests, {} connection a takeover",
                of.requests / of.takeovers,
                of.connections / of.takeovers
            ),
            met: of.connections == of.takeovers && of.requests == 2 * of.takeovers,
        });
    }
    aims.extend(footprint(figures));
    let (old, new) = (
        figures.failovers.old.median(),
        figures.failovers.new.median(),
    );
    let times = old / new;
    aims.push(Aim {
        what: "a failover takes at most a fifth of the time with `legion-tolerance = 60` (medians)",
        found: format!(
            "{:.1} s and {:.1} s: {times:.1} times less",
            new / 1e3,
            old / 1e3
        ),
        met: times >= 5.0,
    });
    aims
}

fn near_the_least(series: &Series) -> Aim {
    let (ours, least) = (series.ours.times.median(), series.least());
    let bound = 1.05 * least + 2.0;
    Aim {
        what: "at 20 ms the action takes at most 1.05 x the least + 2 ms (median)",
        found: format!("{ours:.1} ms, of {bound:.1} ms"),
        met: ours <= bound,
    }
}

fn no_slower_than_curl(all: &[Series]) -> Aim {
    let slower: Vec<String> = all.iter().flat_map(slower_than_curl).collect();
    Aim {
        what: "never slower than curl (mean, median and 99th percentile)",
        found: match slower.as_slice() {
            [] => format!("faster in all {} rows", all.len()),
            slower => format!("slower: {}", slower.join("; ")),
        },
        met: slower.is_empty(),
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

fn footprint(figures: &Figures) -> [Aim; 4] {
    let bare = &figures.masters[0];
    let ours = || {
        figures
            .masters
            .iter()
            .filter(|master| master.name.contains("the plugin, after"))
    };
    let grown = ours()
        .map(|master| master.resident.saturating_sub(bare.resident))
        .max();
    let grown = grown.unwrap_or_default() as f64 / 1024.0;
    let threads = ours()
        .map(|master| master.threads)
        .max()
        .unwrap_or_default();
    let size = figures.size as f64 / MIB;
    let start = figures.starts.with.median() - figures.starts.without.median();
    [
        Aim {
            what: "the plugin's file has at most 2 MiB",
            found: format!("{size:.2} MiB"),
            met: size <= 2.0,
        },
        Aim {
            what: "after a takeover the master's resident memory is at most 4 MiB larger",
            found: format!("{grown:.1} MiB at most"),
            met: grown <= 4.0,
        },
        Aim {
            what: "loading it adds at most 5 ms to the start (medians)",
            found: format!("{start:.1} ms"),
            met: start <= 5.0,
        },
        Aim {
            what: "no thread is left between takeovers",
            found: format!("{threads} threads, without the plugin {}", bare.threads),
            met: threads <= bare.threads,
        },
    ]
}
