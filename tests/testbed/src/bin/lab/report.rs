//! The figures as Markdown.

use std::time::Duration;

use crate::failover::{LIMIT, Outcome, SHOWN_BEFORE, SWITCH_TIME, Setup};
use crate::host::Keeper;
use crate::loss::{ANNOUNCEMENTS, Alarms, LEGIONS, LOSS, TOLERANCES};
use crate::service::{Kind, Trouble};
use crate::{Figures, SETUPS, TROUBLES};

/// Everything after the introduction.
pub fn markdown(figures: &Figures) -> String {
    let rows = |row: fn((Kind, Keeper), &[Outcome]) -> String, groups: &[Vec<Outcome>]| {
        let groups = SETUPS.into_iter().zip(groups);
        groups
            .map(|(setup, group)| row(setup, group))
            .collect::<String>()
    };
    let picture = |groups: &[Vec<Outcome>], number: usize| {
        let groups = SETUPS.into_iter().zip(groups);
        let lines = groups.map(|(setup, group)| timeline(setup, &group[number]));
        lines.collect::<String>()
    };
    let troubles = TROUBLES
        .into_iter()
        .enumerate()
        .map(|(number, trouble)| format!("{}:\n{}\n", trouble, picture(&figures.troubles, number)));
    let alarms = TOLERANCES.into_iter().zip(&figures.alarms);
    let alarms = alarms.map(|(tolerance, group)| alarm_row(tolerance, group));
    let checks = figures
        .checks
        .iter()
        .map(|(name, found)| match found.as_str() {
            "" => format!("| {name} | everything is ok |\n"),
            found => format!("| {name} | {found} |\n"),
        });
    format!(
        "\
## A server dies

| | failovers | until the first POST | switch | until the next answer: mean | shortest | longest |
|---|---:|---:|---:|---:|---:|---:|
{outages}
In seconds; the first two are means, and all but the switch begin with the kill. The mock webservice
switches in {switch} s; a real switch takes 40 to 110 s.

One failover of each kind. Each character is a second, and the number of the server that answered
then; nobody answered where there is a dot.

```
{picture}```

## The webservice has trouble

| | {titles} |
|---|---|---|---|
{troubles}
In seconds from the kill to the first answer of the next server; a lock lasts that long after the first
POST. *Never*: {limit} s after the others could notice the death, the failover IP leads to no server that
answers, and nothing tries again.

```
{trouble_pictures}```

## Announcements get lost

A relay loses {loss:.0} % of the announcements of a node, at random. For each tolerance, {legions} nodes are sent
{announcements} announcements each, one every second. How often do they take the sender for dead?

| `legion-tolerance` | computed | runs of that many losses | runs of one more | seen |
|---|---:|---:|---:|---:|
{alarms}
It depends on the fraction of the second in which nodes look whether a run of as many losses as
`legion-tolerance` has seconds is long enough. The computation says that it always is:
[configuration.md](configuration.md#how-short-a-tolerance) has it for the losses of real networks.

## `--hetzner-check` in a real network

| on the server | the check reports |
|---|---|
{checks}",
        outages = rows(outage_row, &figures.outages),
        picture = picture(&figures.outages, 0),
        titles = TROUBLES.map(|trouble| trouble.to_string()).join(" | "),
        troubles = rows(trouble_row, &figures.troubles),
        trouble_pictures = troubles.collect::<String>().trim_end().to_owned() + "\n",
        alarms = alarms.collect::<String>(),
        checks = checks.collect::<String>(),
        switch = SWITCH_TIME.as_secs(),
        limit = LIMIT.as_secs(),
        loss = 100.0 * LOSS,
        announcements = ANNOUNCEMENTS,
        legions = LEGIONS,
    )
}

fn name((service, keeper): (Kind, Keeper)) -> String {
    let trouble = Trouble::Nothing;
    Setup {
        service,
        keeper,
        trouble,
    }
    .to_string()
}

fn outage_row(setup: (Kind, Keeper), outcomes: &[Outcome]) -> String {
    let seconds = |time: fn(&Outcome) -> Option<Duration>| -> Vec<f64> {
        let times = outcomes.iter().filter_map(time);
        times.map(|time| time.as_secs_f64()).collect()
    };
    let ordered = seconds(|outcome| outcome.ordered);
    let switch = seconds(|outcome| Some(outcome.switched? - outcome.ordered?));
    let answered = seconds(|outcome| outcome.answered.filter(|_| outcome.ends_well));
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let shortest = answered.iter().copied().fold(f64::INFINITY, f64::min);
    let longest = answered.iter().copied().fold(0.0, f64::max);
    let failovers = match outcomes.len() - answered.len() {
        0 => outcomes.len().to_string(),
        failed => format!("{}, {failed} failed", outcomes.len()),
    };
    format!(
        "| {} | {failovers} | {:.2} | {:.2} | **{:.2}** | {shortest:.2} | {longest:.2} |\n",
        name(setup),
        mean(&ordered),
        mean(&switch),
        mean(&answered),
    )
}

fn trouble_row(setup: (Kind, Keeper), outcomes: &[Outcome]) -> String {
    let cells = outcomes.iter().map(|outcome| match outcome.answered {
        Some(answered) if outcome.ends_well => format!(" {:.1} |", answered.as_secs_f64()),
        Some(_) | None => " **never** |".into(),
    });
    format!("| {} |{}\n", name(setup), cells.collect::<String>())
}

fn alarm_row(tolerance: u32, legions: &[Alarms]) -> String {
    let sum = |number: fn(&Alarms) -> usize| legions.iter().map(number).sum::<usize>();
    let computed: f64 = legions.iter().map(|alarms| alarms.computed).sum();
    format!(
        "| {tolerance} | {computed:.1} | {} | {} | {} |\n",
        sum(|alarms| alarms.runs),
        sum(|alarms| alarms.longer_runs),
        sum(|alarms| alarms.seen),
    )
}

/// Who answered in each second.
fn timeline(setup: (Kind, Keeper), outcome: &Outcome) -> String {
    let before = SHOWN_BEFORE.as_secs() as usize;
    let mut seconds = vec!['.'; before + outcome.watched.as_secs() as usize];
    for &(time, server) in &outcome.answers {
        let second = (time + before as f64).floor() as usize;
        if let Some(second) = seconds.get_mut(second) {
            *second = ['1', '2', '3'][server];
        }
    }
    let seconds: String = seconds.into_iter().collect();
    format!("  {:<28}{seconds}\n", name(setup))
}
