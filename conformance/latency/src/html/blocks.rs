//! A goal of a comparison, block by block: how much slower the candidate was in each, and what follows from all.

use statistics::Finding;

use super::{
    Figure,
    distribution::capital,
    words::{change, share, short, subject},
};
use crate::plot::{Axis, Ink, Layer, Mark, Plot, Scale, Shape, Size, Spot};

/// With the host's floor, where it is known.
pub(super) fn blocks(finding: &Finding) -> Figure {
    let floor = finding.floor;
    let count = finding.ratios.len();
    let all = count as f64 + 1.0;
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let told = |at: usize, ratio: f64| {
        let word = if ratio < 1.0 { "shorter" } else { "longer" };
        format!("block {}: {} {word}", at + 1, share((ratio - 1.0).abs()))
    };
    let spots = finding
        .ratios
        .iter()
        .enumerate()
        .map(|(at, ratio)| Spot { at: (at as f64 + 1.0, percent(*ratio)), told: told(at, *ratio) });
    let (centre, low, high) = (percent(finding.centre), percent(finding.low), percent(finding.high));
    let told = format!("all {count} blocks: {}", change(finding));
    let mut layers = Vec::new();
    let mut layer = |name: &str, ink, shape| layers.push(Layer { name: name.to_owned(), ink, shape });
    if let Some(floor) = floor {
        layer(
            "this machine's noise",
            Ink::Quiet,
            Shape::Band(percent(1.0 / (1.0 + floor)), percent(1.0 + floor)),
        );
    }
    layer("", Ink::Quiet, Shape::Line(vec![(0.0, 0.0), (all + 1.0, 0.0)]));
    layer("allowed", Ink::Bad, Shape::Level(finding.threshold * 100.0));
    layer("a block", Ink::A, Shape::Marks(Mark::Round, spots.collect()));
    layer("all blocks, with limits", Ink::B, Shape::Interval { x: all, low, high, told: told.clone() });
    layer("", Ink::B, Shape::Marks(Mark::Round, vec![Spot { at: (all, centre), told }]));

    let numbers = (1..=count).map(|number| (number as f64, number.to_string()));
    let heights =
        finding.ratios.iter().map(|ratio| percent(*ratio)).chain([low, high, finding.threshold * 100.0, 0.0]);
    let heights = heights.chain(floor.map(|floor| percent(1.0 + floor)));
    let heights: Vec<f64> = heights.filter(|height| height.is_finite()).collect();
    let (least, most) = heights.iter().fold((0.0_f64, 0.0_f64), |(l, m), h| (l.min(*h), m.max(*h)));
    let room = (most - least) * 0.08;
    let plot = Plot {
        label: format!(
            "The candidate's {} against the baseline's, block by block: {}",
            subject(finding),
            change(finding)
        ),
        x: Axis {
            title: "block".to_owned(),
            scale: Scale::linear(0.0, all + 1.0),
            ticks: Some(numbers.chain([(all, "all".to_owned())]).collect()),
        },
        y: Axis {
            title: "candidate longer by, percent".to_owned(),
            scale: Scale::linear(least - room, most + room),
            ticks: None,
        },
        layers,
    };
    let mut caption = "Above 0 the candidate is slower. It fails when the whole bar lies above the dashed line, and passes \
                       when it lies below."
        .to_owned();
    if floor.is_some() {
        caption += " In the shaded band differences are only this machine's noise.";
    }
    let heading = format!("{} ({})", capital(&subject(finding)), short(finding));
    Figure { said: change(finding), ..Figure::new(&heading, caption, &plot, Size::HALF) }
}
