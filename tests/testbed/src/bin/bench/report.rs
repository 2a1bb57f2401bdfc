//! The report: the aims, whether they are met, and the figures.

use crate::Figures;
use crate::action::Series;
use crate::cloud::{ACTION_TIME, CloudFailovers};
use crate::failover::{SETTINGS, SWITCH_TIME};
use crate::footprint::Pair;
use crate::samples::Samples;

/// Everything after the introduction.
pub fn markdown(figures: &Figures) -> String {
    format!(
        "\
{aims}
## Time of the action

| round trip added | round trip | minimum | action | calls | mean | median | 99th percentile |
|---|---:|---:|---|---:|---:|---:|---:|
{actions}
In milliseconds. The minimum is three round trips: for TCP, TLS 1.3 and one request. The round trip
is the median of bare TCP connections made before and after the calls. Of fewer than 100 values, the
99th percentile is the maximum, here and below.

uWSGI calls both actions in turn on its legion thread, in both orders, after a first round that is
left out. Each call moves the failover IP to another server. The mock Robot switches at once (a real
switch takes 40 to 110 s), and its URL contains its address, so no name is looked up. Both actions
trust a single CA from a file. The round trip is added by a relay between two network namespaces
that delays each packet.

## Memory and start-up

| | masters | mean | median | 99th percentile |
|---|---:|---:|---:|---:|
{memory}{start}
Memory is the resident memory of the master once it is Lord. With the plugin, that is after a
takeover that looked a name up and read the system's certificates. The start is the time from exec to
`spawned uWSGI master process` in the log. Masters with and without the plugin are started in turn.
The plugin's file has {size} bytes.

## Time to fail over

| setting | failovers | mean | median | 99th percentile |
|---|---:|---:|---:|---:|
{fast}{slow}
In seconds, from SIGKILL of the Lord of three nodes until the failover IP is routed to the next node.
The mock Robot switches in {switch} s; a real switch takes 40 to 110 s. An action that blocks its node
for that time needs a tolerance like that of the second setting, or a higher one. The plugin ran with both
settings, and with a quorum of 2. All legions run at the same time, and their Lords are killed at
different points of the announcements' period.

[docs/outage.md](docs/outage.md) has the outage as a client sees it, beside keepalived (`make lab`).

## Several addresses

| addresses | takeovers | mean | median | 99th percentile |
|---|---:|---:|---:|---:|
{one}{three}{hooks}
In seconds, from uWSGI's call of the first action until the node is Lord. The mock Robot switches each address
in {switch} s. All takeovers run at the same time.

## A Floating IP

| | failovers | mean | median | 99th percentile |
|---|---:|---:|---:|---:|
{cloud}
From SIGKILL of the Lord of three nodes (`legion-tolerance = 5`, `legion-freq = 1`) until the takeover of the
next node has ended. An action of the mock Cloud API runs for {action:.1} s. The shortest time between two
requests about one action was {poll:.2} s.
",
        aims = aims(figures),
        actions = figures.series.iter().map(actions).collect::<String>(),
        memory = pair("memory", "MiB", &figures.footprint.memory),
        start = pair("start", "ms", &figures.footprint.start),
        size = figures.footprint.size,
        fast = failover(SETTINGS[0], &figures.failovers[0]),
        slow = failover(SETTINGS[1], &figures.failovers[1]),
        switch = SWITCH_TIME.as_secs(),
        one = row("| one", &figures.several.one),
        three = row("| three in one action", &figures.several.three_in_one_action),
        hooks = row("| three in three actions", &figures.several.three_actions),
        cloud = cloud(&figures.cloud),
        action = ACTION_TIME.as_secs_f64(),
        poll = figures.cloud.shortest_poll,
    )
}

fn aims(figures: &Figures) -> String {
    let [_, at_20_ms, _] = &figures.series;
    let action = at_20_ms.plugin.median();
    let limit = 1.05 * at_20_ms.minimum() + 2.0;
    let cases = figures.series.len();
    let slower = figures.series.iter().filter(|series| is_slower(series));
    let slower = slower.count();
    let footprint = &figures.footprint;
    let size = footprint.size as f64 / 1024.0 / 1024.0;
    let (memory, start) = (footprint.memory.added(), footprint.start.added());
    let [fast, slow] = figures.failovers.each_ref().map(Samples::median);
    let several = &figures.several;
    let [one, three, hooks] = [
        &several.one,
        &several.three_in_one_action,
        &several.three_actions,
    ]
    .map(Samples::median);
    let (floating, poll) = (
        figures.cloud.after_election.median(),
        figures.cloud.shortest_poll,
    );
    let met = |met| if met { "yes" } else { "**no**" };
    format!(
        "\
| aim | measured | met |
|---|---|---|
| at 20 ms, the action takes at most 1.05 × the minimum + 2 ms (median) | {action:.1} ms, limit {limit:.1} ms | {} |
| the action is never slower than curl (mean, median, 99th percentile) | slower in {slower} of {cases} cases | {} |
| the plugin's file has at most 2.25 MiB | {size:.2} MiB | {} |
| after a takeover, the master's memory is at most 4 MiB larger (median) | {memory:.1} MiB | {} |
| the plugin adds at most 5 ms to the start (median) | {start:.1} ms | {} |
| a failover takes at most a fifth of the time with `legion-tolerance = 60` (median) | {fast:.1} s and {slow:.1} s | {} |
| three addresses in one action take at most 1.2 × the time of one (median) | {three:.2} s and {one:.2} s; in three actions {hooks:.2} s | {} |
| after the election, a Floating IP takes at most 2 s (median) | {floating:.2} s | {} |
| nothing is polled more often than every 0.5 s | {poll:.2} s | {} |
",
        met(action <= limit),
        met(slower == 0),
        met(size <= 2.25),
        met(memory <= 4.0),
        met(start <= 5.0),
        met(5.0 * fast <= slow),
        met(three <= 1.2 * one),
        met(floating <= 2.0),
        met(poll >= 0.5),
    )
}

/// Whether the plugin is slower than curl in any respect.
fn is_slower(series: &Series) -> bool {
    let respects = [Samples::mean, Samples::median, Samples::p99];
    let mut respects = respects.iter();
    respects.any(|respect| respect(&series.plugin) > respect(&series.curl))
}

fn actions(series: &Series) -> String {
    let (round_trip, minimum) = (series.connect.median(), series.minimum());
    let added = match series.added {
        0 => "loopback".into(),
        added => format!("{added} ms"),
    };
    let distance = format!("| {added} | {round_trip:.2} | {minimum:.2}");
    row(&format!("{distance} | plugin"), &series.plugin)
        + &row(&format!("{distance} | curl"), &series.curl)
}

fn pair(figure: &str, unit: &str, pair: &Pair) -> String {
    row(
        &format!("| {figure} without the plugin ({unit})"),
        &pair.without,
    ) + &row(&format!("| {figure} with the plugin ({unit})"), &pair.with)
}

fn failover((tolerance, freq): (u32, u32), times: &Samples) -> String {
    row(
        &format!("| `legion-tolerance = {tolerance}`, `legion-freq = {freq}`"),
        times,
    )
}

fn cloud(failovers: &CloudFailovers) -> String {
    [
        ("| whole failover (s)", &failovers.total),
        ("| after the election (s)", &failovers.after_election),
        ("| requests", &failovers.requests),
        ("| connections", &failovers.connections),
        ("| bytes, both ways (kB)", &failovers.kilobytes),
    ]
    .map(|(name, samples)| row(name, samples))
    .concat()
}

fn row(start: &str, samples: &Samples) -> String {
    let (count, mean) = (samples.count(), samples.mean());
    let (median, p99) = (samples.median(), samples.p99());
    format!("{start} | {count} | {mean:.2} | {median:.2} | {p99:.2} |\n")
}
