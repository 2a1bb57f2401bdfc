//! `BENCHMARKS.svg`: the action's time as bars, failovers as dots; for light and dark pages.

use std::fmt::{self, Write as _};

use crate::Figures;
use crate::failover::{NEW, OLD};
use crate::figures::Times;

const WIDTH: f64 = 760.0;
/// Where the axes begin and end.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 680.0;
const BAR: f64 = 16.0;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #59636e; font-size: 12px }
.end { text-anchor: end }
.middle { text-anchor: middle }
.ours { fill: #0969da }
.other { fill: #bc4c00 }
.least { fill: #8c959f }
.before { fill: #8250df }
.grid { stroke: #d1d9e0; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .ours { fill: #4493f8 }
  .other { fill: #f0883e }
  .least { fill: #656c76 }
  .before { fill: #ab7df8 }
  .grid { stroke: #3d444d }
}
";

/// An axis from zero to a round number.
struct Axis {
    end: f64,
    step: f64,
    unit: &'static str,
}

impl Axis {
    fn up_to(most: f64, unit: &'static str) -> Axis {
        let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
        let fits = |step: &&f64| most / **step <= 8.0;
        let step = *steps.iter().find(fits).unwrap_or(&1000.0);
        Axis {
            end: (most / step).ceil() * step,
            step,
            unit,
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.end * (RIGHT - LEFT)
    }

    /// Lines and numbers.
    fn draw(&self, svg: &mut String, top: f64, bottom: f64) -> fmt::Result {
        let mut value = 0.0;
        while value <= self.end {
            let x = self.x(value);
            writeln!(
                svg,
                "<line class='grid' x1='{x:.1}' x2='{x:.1}' y1='{top}' y2='{bottom}'/>"
            )?;
            let label = bottom + 16.0;
            writeln!(
                svg,
                "<text class='quiet middle' x='{x:.1}' y='{label}'>{value} {}</text>",
                self.unit
            )?;
            value += self.step;
        }
        Ok(())
    }
}

/// The whole picture.
pub fn svg(figures: &Figures) -> Result<String, fmt::Error> {
    let mut panels = String::new();
    let end = actions(&mut panels, figures, 28.0)?;
    let end = failovers(&mut panels, figures, end + 44.0)?;
    Ok(format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {end}' width='{WIDTH}' height='{end}' \
         role='img' aria-label='Times of the action and of failovers; the numbers are in BENCHMARKS.md'>\n\
         <style>\n{STYLE}</style>\n{panels}</svg>\n"
    ))
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, content: &str) -> fmt::Result {
    writeln!(
        svg,
        "<text class='{class}' x='{x:.1}' y='{y:.1}'>{content}</text>"
    )
}

/// Draws from this height on, and returns where it ends.
fn actions(svg: &mut String, figures: &Figures, top: f64) -> Result<f64, fmt::Error> {
    text(
        svg,
        "title",
        16.0,
        top,
        "The action&#8217;s own time, median",
    )?;
    legend(
        svg,
        top,
        &[
            ("ours", "ours"),
            ("other", "curl"),
            ("least", "the least: 3 round trips"),
        ],
    )?;
    let shown: Vec<_> = figures
        .series
        .iter()
        .filter(|series| series.store.is_none())
        .collect();
    let group = 3.0 * BAR + 16.0;
    let (first, bottom) = (top + 22.0, top + 14.0 + group * shown.len() as f64);
    let medians = shown
        .iter()
        .flat_map(|s| [s.ours.times.median(), s.curl.times.median()]);
    let axis = Axis::up_to(medians.fold(0.0, f64::max), "ms");
    axis.draw(svg, top + 14.0, bottom)?;
    for (place, series) in shown.iter().enumerate() {
        let y = first + group * place as f64;
        let name = match series.added.as_millis() {
            0 => "loopback".into(),
            added => format!("+ {added} ms round trip"),
        };
        text(svg, "end", LEFT - 10.0, y + 1.5 * BAR + 4.0, &name)?;
        let bars = [
            ("ours", series.ours.times.median()),
            ("other", series.curl.times.median()),
            ("least", series.least()),
        ];
        for (row, (class, value)) in bars.into_iter().enumerate() {
            let (y, end) = (y + BAR * row as f64, axis.x(value));
            writeln!(
                svg,
                "<rect class='{class}' x='{LEFT}' y='{y:.1}' width='{:.1}' height='{}'/>",
                (end - LEFT).max(0.5),
                BAR - 2.0
            )?;
            text(
                svg,
                "quiet",
                end + 5.0,
                y + BAR - 5.0,
                &format!("{value:.1}"),
            )?;
        }
    }
    Ok(bottom + 16.0)
}

/// Draws from this height on, and returns where it ends.
fn failovers(svg: &mut String, figures: &Figures, top: f64) -> Result<f64, fmt::Error> {
    text(
        svg,
        "title",
        16.0,
        top,
        "From the Lord&#8217;s death to the next node&#8217;s route (3 s of it the switch)",
    )?;
    let rows = [
        ("ours", NEW, &figures.failovers.new),
        ("before", OLD, &figures.failovers.old),
    ];
    let height = 44.0;
    let bottom = top + 14.0 + height * rows.len() as f64;
    let axis = Axis::up_to(
        figures
            .failovers
            .old
            .most()
            .max(figures.failovers.new.most())
            / 1e3,
        "s",
    );
    axis.draw(svg, top + 14.0, bottom)?;
    for (place, (class, setting, times)) in rows.into_iter().enumerate() {
        let y = top + 14.0 + height * (place as f64 + 0.5);
        text(
            svg,
            "end",
            LEFT - 10.0,
            y + 4.0,
            &format!("tolerance {} s", setting.tolerance),
        )?;
        dots(svg, &axis, class, times, y)?;
    }
    Ok(bottom + 30.0)
}

/// One dot a failover, alternating in height so that near ones stay apart, and their median.
fn dots(svg: &mut String, axis: &Axis, class: &str, times: &Times, y: f64) -> fmt::Result {
    for (place, time) in times.all().iter().enumerate() {
        let (x, y) = (axis.x(time / 1e3), y + [-6.0, 0.0, 6.0][place % 3]);
        writeln!(
            svg,
            "<circle class='{class}' cx='{x:.1}' cy='{y:.1}' r='3.5' fill-opacity='0.7'/>"
        )?;
    }
    let (class, x) = match axis.x(times.most() / 1e3) + 10.0 {
        end if end < RIGHT - 60.0 => ("quiet", end),
        _ => ("quiet end", axis.x(times.least() / 1e3) - 10.0),
    };
    text(
        svg,
        class,
        x,
        y + 4.0,
        &format!("median {:.1} s", times.median() / 1e3),
    )
}

fn legend(svg: &mut String, y: f64, entries: &[(&str, &str)]) -> fmt::Result {
    let mut x = 420.0;
    for (class, name) in entries {
        writeln!(
            svg,
            "<rect class='{class}' x='{x}' y='{}' width='12' height='12'/>",
            y - 10.0
        )?;
        text(svg, "quiet", x + 17.0, y, name)?;
        x += 70.0;
    }
    Ok(())
}
