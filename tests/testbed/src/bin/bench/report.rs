//! `BENCHMARKS.md`.

use std::fmt::{self, Write as _};

use crate::action::Series;
use crate::aims::{Aim, Verdict};
use crate::failover::{self, NEW, OLD, Setting};
use crate::figures::{Tail, Times};
use crate::{Figures, Result};

/// The whole file.
pub fn markdown(figures: &Figures, aims: &[Aim], command: &str) -> Result<String> {
    let mut text = String::new();
    head(&mut text, figures, aims, command)?;
    action(&mut text, figures)?;
    footprint(&mut text, figures)?;
    failovers(&mut text, figures)?;
    Ok(text)
}

fn head(text: &mut String, figures: &Figures, aims: &[Aim], command: &str) -> fmt::Result {
    let machine = &figures.machine;
    writeln!(text, "# Benchmarks\n")?;
    writeln!(
        text,
        "Written by `{command}` on {}, of commit `{}`:\n\
         everything in one run, each thing beside what it is compared with, in turn. \"curl\" is what a user would have instead, in the same uWSGI:\n\
         `legion-lord = failover cmd:curl -sSf -u ... -d active_server_ip=... URL`.\n",
        machine.date, machine.commit
    )?;
    writeln!(
        text,
        "{}, {} cores, Linux {}, {}; uWSGI {}, {}.\n",
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.distribution,
        machine.uwsgi,
        figures.versions.join(", ")
    )?;
    writeln!(text, "| aim | found | met |\n|---|---|---|")?;
    for aim in aims {
        let met = match aim.verdict {
            Verdict::Met => "yes",
            Verdict::Missed => "**no**",
            Verdict::NotMeasured => "**not measured**",
        };
        writeln!(text, "| {} | {} | {met} |", aim.what, aim.found)?;
    }
    Ok(())
}

fn action(text: &mut String, figures: &Figures) -> fmt::Result {
    writeln!(text, "\n## The action's own time\n")?;
    writeln!(
        text,
        "In milliseconds. The least that TCP, TLS 1.3 and one request can take is three round trips;\n\
         the round trip is the median of bare TCP connections made between the calls.\n"
    )?;
    writeln!(
        text,
        "| round trip added | round trip | least | | calls | mean | median | 99th percentile | median / least |"
    )?;
    writeln!(text, "|---|---:|---:|---|---:|---:|---:|---:|---:|")?;
    for series in &figures.series {
        let round_trip = series.connect.times.median();
        for (name, times) in [("ours", &series.ours.times), ("curl", &series.curl.times)] {
            writeln!(
                text,
                "| {} | {round_trip:.2} | {:.2} | {name} | {} | {:.2} | {:.2} | {} | {:.2} |",
                label(series),
                series.least(),
                times.all().len(),
                times.mean(),
                times.median(),
                tail(times, 2),
                times.median() / series.least()
            )?;
        }
    }
    writeln!(
        text,
        "\nA plugin for this purpose alone calls both actions in turn on uWSGI's legion thread, ours first in one\n\
         round and curl in the next, and reads the clock around each call; the first round of either kind is\n\
         left out. The Robot webservice of the tests answers at once (Hetzner's takes 40 to 60 s). Each call\n\
         switches the route, to and fro between two servers, and is answered with 200 to its one request.\n\
         The url names the Robot by its address, so neither looks a name up. Both trust one CA from a file, but\n\
         in the row of the system's store, where both read all of its certificates."
    )?;
    match &figures.how {
        Ok(how) => writeln!(text, "The round-trip time is added by {how}.")?,
        Err(why) => writeln!(text, "No round-trip time could be added: {why}.")?,
    }
    let lost: usize = figures.series.iter().map(|series| series.curl.errors).sum();
    if lost > 0 {
        let calls: usize = figures
            .series
            .iter()
            .map(|series| series.curl.times.all().len() + 1)
            .sum();
        writeln!(
            text,
            "\n**{lost} of {calls} calls of `cmd:curl` were reported as failed although curl had routed the IP:**\n\
             uWSGI's master collects every child that ends, and may be faster than the action that waits for it.\n\
             Ours starts no process."
        )?;
    }
    Ok(())
}

/// How slow they get, and what that is where it is no 99th percentile.
fn tail(times: &Times, digits: usize) -> String {
    match times.tail() {
        Tail::Percentile99(time) => format!("{time:.digits$}"),
        Tail::Most(time) => format!("{time:.digits$} (most)"),
    }
}

/// The distance of a series, in words.
pub fn label(series: &Series) -> String {
    match (series.added.as_millis(), series.store) {
        (0, None) => "loopback".into(),
        (0, Some(certificates)) => {
            format!("loopback, system's store ({certificates} certificates)")
        }
        (added, _) => format!("{added} ms"),
    }
}

fn footprint(text: &mut String, figures: &Figures) -> Result<()> {
    writeln!(text, "\n## Memory and start-up\n")?;
    writeln!(
        text,
        "| the master of a uWSGI | resident | more than without | of it anonymous | shared libraries | threads |"
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|---:|")?;
    let bare = figures.masters.bare()?;
    for master in figures.masters.all() {
        let mib = |kib: u64| kib as f64 / 1024.0;
        writeln!(
            text,
            "| {} | {:.1} MiB | {:.1} MiB | {:.1} MiB | {} | {} |",
            master.kind.name(),
            mib(master.resident),
            mib(master.resident.saturating_sub(bare.resident)),
            mib(master.anonymous.saturating_sub(bare.anonymous)),
            master.libraries,
            master.threads
        )?;
    }
    let starts = &figures.starts;
    writeln!(
        text,
        "\nMedians of several masters of each kind, each looked at when it had become Lord. Anonymous is what no\n\
         file backs. The url names the Robot by name, so the plugin has looked one up. What curl itself takes\n\
         while it runs is not in these figures, since it is a process of its own. The plugin's file has {} bytes.\n",
        figures.size
    )?;
    writeln!(
        text,
        "| milliseconds from exec to `spawned uWSGI master process` | starts | mean | median | 99th percentile |"
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|")?;
    for (name, times) in [
        ("without the plugin", &starts.without),
        ("with the plugin", &starts.with),
    ] {
        writeln!(
            text,
            "| {name} | {} | {:.1} | {:.1} | {} |",
            times.all().len(),
            times.mean(),
            times.median(),
            tail(times, 1)
        )?;
    }
    Ok(())
}

fn failovers(text: &mut String, figures: &Figures) -> fmt::Result {
    writeln!(text, "\n## The time to fail over\n")?;
    writeln!(
        text,
        "| | failovers | least | mean | median | most |\n|---|---:|---:|---:|---:|---:|"
    )?;
    let mut line = |name: &str, setting: Setting, times: &Times| {
        writeln!(
            text,
            "| {name}: `legion-tolerance = {}`, `legion-freq = {}` | {} | {:.1} s | {:.1} s | {:.1} s | {:.1} s |",
            setting.tolerance,
            setting.freq,
            times.all().len(),
            times.least() / 1e3,
            times.mean() / 1e3,
            times.median() / 1e3,
            times.most() / 1e3
        )
    };
    line("the C plugin's settings", OLD, &figures.failovers.old)?;
    line("ours, as the README has them", NEW, &figures.failovers.new)?;
    writeln!(
        text,
        "\nFrom SIGKILL of the Lord of three nodes to the Robot's route being the next node's. This Robot\n\
         switches in {} s; the real one needs 40 to 60 s instead, in both rows alike. All legions ran at once,\n\
         each with a Robot of its own, and their Lords died at all points of the announcements' period. The\n\
         first row has no `legion-quorum`, as the C plugin's example, and the second has a quorum of 2.\n\
         This plugin ran in both rows: what differs is the settings, and that a plugin that blocks its\n\
         node while it waits needs the first.",
        failover::SWITCH.as_secs()
    )
}
