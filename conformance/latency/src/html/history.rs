//! A page of series over time: one plot a figure, with the places where it changed.

use std::io;

use present::{
    render,
    text::{cut, visible},
};
use serde::Serialize;

use super::{Figure, TEMPLATES, words::counted};
use crate::{
    history as recorded,
    plot::{Axis, Ink, Layer, Mark, Plot, Scale, Shape, Size, Spot, grouped},
};

/// One figure over time.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// What it is.
    pub title: &'a str,
    /// The unit of the values.
    pub unit: &'a str,
    /// A label, as a commit or a date, and the value; the oldest first.
    pub points: &'a [(String, f64)],
    /// The first points of each new kind, as [`statistics::change_points`] finds them.
    pub changes: &'a [usize],
}

#[derive(Serialize)]
struct Page {
    title: String,
    sentence: String,
    standing: &'static str,
    figures: Vec<Figure>,
    version: &'static str,
}

/// The page of some series.
pub fn history(title: &str, series: &[Series<'_>]) -> io::Result<String> {
    let changes: usize = series.iter().map(|series| series.inner_changes().count()).sum();
    let sentence = match changes {
        0 => format!("{}: no change in {}", visible(title), counted(series.len(), "figure")),
        _ => format!(
            "{}: {} in {}",
            visible(title),
            counted(changes, "change"),
            counted(series.len(), "figure")
        ),
    };
    let figures = series.iter().map(Series::figure).collect();
    let title = visible(title);
    let page = Page { title, sentence, standing: "plain", figures, version: env!("CARGO_PKG_VERSION") };
    render(&TEMPLATES, "bench-history.html", page)
}

/// The page of everything in a history; where hosts or conditions differ, each figure says its own.
pub fn history_of(all: &[recorded::Series]) -> io::Result<String> {
    let lines = all.iter().flat_map(|series| series.lines.iter().map(move |line| (series, line)));
    let title = |series: &recorded::Series, line: &recorded::Line| match all {
        [_] => line.name.clone(),
        _ => format!("{} ({}; {})", line.name, series.host, series.conditions),
    };
    let lines: Vec<_> = lines
        .map(|(series, line)| {
            let changes: Vec<_> = line.changes.iter().map(|change| change.index).collect();
            (title(series, line), &line.points, changes)
        })
        .collect();
    let plots: Vec<_> =
        lines.iter().map(|(title, points, changes)| Series { title, unit: "ms", points, changes }).collect();
    history("Latency over time", &plots)
}

impl Series<'_> {
    fn figure(&self) -> Figure {
        let heading = visible(self.title);
        if self.points.is_empty() {
            return Figure::none(&heading, "There are no values yet.");
        }
        let unit = visible(self.unit);
        let label = |label: &str| cut(&visible(label), LABEL);
        let values: Vec<f64> = self.points.iter().map(|(_, value)| *value).collect();
        let place = |(at, (name, value)): (usize, &(String, f64))| Spot {
            at: (at as f64, *value),
            told: format!("{}: {} {unit}", label(name), digits(*value)),
        };
        let known = self.points.iter().enumerate().filter(|(_, (_, value))| value.is_finite());
        let spots: Vec<_> = known.map(place).collect();
        let line = spots.iter().map(|spot| spot.at).collect();
        let mut layers = Vec::new();
        let mut layer = |name: &str, ink, shape| layers.push(Layer { name: name.to_owned(), ink, shape });
        layer("", Ink::Quiet, Shape::Line(line));
        layer("a measurement", Ink::A, Shape::Marks(Mark::Round, spots));
        let mut bounds: Vec<usize> =
            [0].into_iter().chain(self.inner_changes()).chain([values.len()]).collect();
        bounds.dedup();
        let mut said = Vec::new();
        for (at, stretch) in bounds.windows(2).enumerate() {
            let finite: Vec<_> =
                values[stretch[0]..stretch[1]].iter().copied().filter(|value| value.is_finite()).collect();
            let Some(median) = statistics::median(&finite) else { continue };
            let (from, to) = (stretch[0] as f64 - 0.4, stretch[1] as f64 - 0.6);
            let name = if at == 0 { "median of a stretch" } else { "" };
            layer(name, Ink::B, Shape::Line(vec![(from, median), (to, median)]));
            said.push(digits(median));
        }
        for (at, change) in self.inner_changes().enumerate() {
            let told = format!("changed at {}", label(&self.points[change].0));
            let name = if at == 0 { "a change" } else { "" };
            layer(name, Ink::Bad, Shape::Moment(change as f64 - 0.5, told));
        }
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let room = (high - low) * 0.1;
        let names = self.points.iter().enumerate().map(|(at, (name, _))| (at as f64, label(name))).collect();
        let steps = said.join(" → ");
        let plot = Plot {
            label: format!("{heading} over {}, medians {steps} {unit}", counted(values.len(), "measurement")),
            x: Axis {
                title: "oldest to newest".to_owned(),
                scale: Scale::linear(-0.5, values.len() as f64 - 0.5),
                ticks: Some(names),
            },
            y: Axis { title: unit.clone(), scale: Scale::linear(low - room, high + room), ticks: None },
            layers,
        };
        let caption = "Each dot is a measurement. At an upright dashed line the values changed by more than chance explains; \
                       the level ones are the medians before and after. The upright axis does not begin at zero.";
        Figure { said: format!("{steps} {unit}"), ..Figure::new(&heading, caption, &plot, Size::WIDE) }
    }

    /// Those that part the series.
    fn inner_changes(&self) -> impl Iterator<Item = usize> {
        let mut changes: Vec<_> =
            self.changes.iter().copied().filter(|at| (1..self.points.len()).contains(at)).collect();
        changes.sort_unstable();
        changes.dedup();
        changes.into_iter()
    }
}

/// Three that matter.
fn digits(value: f64) -> String {
    let decimals = (2.0 - value.abs().max(1e-6).log10().floor()).clamp(0.0, 6.0);
    grouped(value, decimals as usize)
}

/// Characters under the axis: those of a short commit, or of a date.
const LABEL: usize = 12;
