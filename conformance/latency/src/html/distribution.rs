//! Cumulative distributions: which share of the values is at most so large.

use super::{Figure, words::meaning};
use crate::{
    metrics::{Metric, milliseconds, quantile},
    plot::{Axis, Ink, Layer, Plot, Scale, Shape, Size},
    record::{Nanos, RequestRecord},
};

/// All latencies of a run on one axis.
pub(super) fn of_run(requests: &[RequestRecord]) -> Figure {
    let heading = "Distributions";
    let metrics = [Metric::Ttft, Metric::Itl, Metric::Tpot, Metric::E2e];
    let curves = metrics.into_iter().zip([Ink::A, Ink::B, Ink::C, Ink::D]);
    let curves: Vec<_> = curves
        .map(|(metric, ink)| (metric.name(), ink, metric.values(requests)))
        .filter(|(_, _, values)| !values.is_empty())
        .collect();
    if curves.is_empty() {
        return Figure::none(heading, "No request was answered, so there is nothing to show.");
    }
    let label = "Cumulative distributions of the time to the first token, of gaps between tokens, of the time per later \
                 token and of the time to the last token";
    let caption = "Each curve rises to the share of values that are at most so long: it crosses 50 % at its median and \
                   99 % at its 99th percentile. Further left is faster; a long run to the right, high up, is a tail. The \
                   axis is logarithmic; values below it lie on its left edge.";
    Figure::new(heading, caption, &plot(label, curves), Size::WIDE)
}

/// One latency of both sides of a comparison, all blocks together; none without values.
pub(super) fn of_sides(metric: Metric, baseline: Vec<Nanos>, candidate: Vec<Nanos>) -> Option<Figure> {
    if baseline.is_empty() && candidate.is_empty() {
        return None;
    }
    let label = format!("Cumulative distributions of the {}, baseline and candidate", meaning(metric));
    let curves = vec![("baseline", Ink::A, baseline), ("candidate", Ink::B, candidate)];
    let heading = capital(&format!("{} ({metric})", meaning(metric)));
    let caption = "Height is the share of all values that are at most so long. Where the candidate's curve lies to the \
                   right of the baseline's, it is slower; values below the axis lie on its left edge.";
    Some(Figure::new(&heading, caption, &plot(&label, curves), Size::HALF))
}

fn plot(label: &str, curves: Vec<(&str, Ink, Vec<Nanos>)>) -> Plot {
    let of_all = curves.iter().flat_map(|(_, _, values)| values).map(|value| milliseconds(*value));
    let (least, high) = of_all.fold((f64::MAX, 0.0_f64), |(low, high), ms| (low.min(ms), high.max(ms)));
    let low = least.max(lowest_median(&curves) / BELOW_MEDIANS);
    let layer = |(name, ink, values): (&str, Ink, Vec<Nanos>)| Layer {
        name: name.to_owned(),
        ink,
        shape: Shape::Step(steps(values)),
    };
    let percent = SHARES.map(|share| (share, format!("{share} %"))).to_vec();
    Plot {
        label: label.to_owned(),
        x: Axis { title: "milliseconds".to_owned(), scale: Scale::log(low / ROOM, high * ROOM), ticks: None },
        y: Axis {
            title: "share of values".to_owned(),
            scale: Scale::linear(0.0, 100.0),
            ticks: Some(percent),
        },
        layers: curves.into_iter().map(layer).collect(),
    }
}

fn lowest_median(curves: &[(&str, Ink, Vec<Nanos>)]) -> f64 {
    let medians = curves.iter().filter_map(|(_, _, values)| quantile(values.clone(), 0.5));
    medians.fold(f64::MAX, f64::min) / 1e6
}

/// From the least value to the largest; of many, as many as the eye can tell apart, and more at the tail.
fn steps(mut values: Vec<Nanos>) -> Vec<(f64, f64)> {
    values.sort_unstable();
    let count = values.len();
    let even = (0..STEPS).map(|step| (step * count) / STEPS);
    let tail = (0..TAIL).map(|step| count - 1 - (step * count) / (TAIL * 100));
    let mut ranks: Vec<usize> =
        if count <= STEPS { (0..count).collect() } else { even.chain(tail).collect() };
    ranks.sort_unstable();
    ranks.dedup();
    let share = |rank: usize| 100.0 * (rank + 1) as f64 / count as f64;
    let first = values.first().map(|value| (milliseconds(*value), 0.0));
    first.into_iter().chain(ranks.into_iter().map(|rank| (milliseconds(values[rank]), share(rank)))).collect()
}

/// The text with a capital first letter.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const SHARES: [f64; 6] = [0.0, 25.0, 50.0, 75.0, 90.0, 99.0];
const STEPS: usize = 200;
/// In the last hundredth.
const TAIL: usize = 40;
/// Tokens that came in one packet have no gap between them: an axis down to there would have no room for the rest.
const BELOW_MEDIANS: f64 = 20.0;
/// Beyond the outermost values.
const ROOM: f64 = 1.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_all_steps() {
        assert_eq!(steps(vec![2_000_000, 1_000_000]), [(1.0, 0.0), (1.0, 50.0), (2.0, 100.0)]);
        assert_eq!(steps(Vec::new()), []);
    }

    #[test]
    fn many_values_keep_their_ends_and_every_step_is_true() {
        let values: Vec<Nanos> = (1..=100_000).map(|n| n * 1_000).collect();
        let steps = steps(values);
        assert!(steps.len() < 260, "{}", steps.len());
        assert_eq!(steps.first(), Some(&(0.001, 0.0)));
        assert_eq!(steps.last(), Some(&(100.0, 100.0)));
        assert!(
            steps[1..].iter().all(|(ms, share)| (ms - share).abs() < 1e-9),
            "uniform: the share is the value"
        );
        assert!(steps.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
    }
}
