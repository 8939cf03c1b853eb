//! Where a history changed: E-divisive, which asks no shape of the noise.
//!
//! A segment is cut where the energy distance between its parts, `mn / (m + n) (2 E|X − Y| − E|X − X'| − E|Y − Y'|)`,
//! is largest; shuffling within the segments says how large it gets by chance. If chance rarely gets there the cut
//! stays, and the search goes on in all segments.
//! Sources: Matteson & James, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data", 2014;
//! used on histories of benchmarks by Daly et al., "The Use of Change Point Detection to Identify Software Performance
//! Regressions in a Continuous Integration System", 2020.

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use serde::{Deserialize, Serialize};

use crate::{order::median, resample::generator};

/// The fewest values on either side of a cut: two alone are far from anything by chance.
const LEAST: usize = 3;
/// Shuffles, so that a p-value can fall to a tenth of the significance.
const FINER: f64 = 10.0;
const LEAST_SHUFFLES: f64 = 199.0;
const MOST_SHUFFLES: f64 = 9999.0;

/// The values before and from `index` on differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The first value of the new kind.
    pub index: usize,
    /// The median from the change point before to this one.
    pub before: f64,
    /// The median from this one to the next.
    pub after: f64,
    /// How often shuffled values have a cut as clear as this: the permutation test's p-value.
    pub p: f64,
}

/// The change points of a series in order; none for a series with values that are not finite, or that is too short.
///
/// Each step of the search takes n² steps for each of 10 / `significance` shuffles: meant for some hundred values.
pub fn change_points(series: &[f64], significance: f64, seed: u64) -> Vec<ChangePoint> {
    if series.iter().any(|value| !value.is_finite()) || !(significance > 0.0 && significance < 1.0) {
        return Vec::new();
    }
    let mut rng = generator(seed);
    let mut cuts: Vec<(usize, f64)> = Vec::new();
    loop {
        let segments = segments(&cuts, series.len());
        let Some((index, clearness)) = best_cut(series, &segments) else { break };
        let p = chance(series, &segments, clearness, significance, &mut rng);
        if p > significance {
            break;
        }
        cuts.push((index, p));
        cuts.sort_by_key(|(index, _)| *index);
    }
    let segments = segments(&cuts, series.len());
    let middle =
        |at: usize| segments.get(at).and_then(|(from, to)| median(&series[*from..*to])).unwrap_or(0.0);
    let point = |(at, (index, p)): (usize, &(usize, f64))| ChangePoint {
        index: *index,
        before: middle(at),
        after: middle(at + 1),
        p: *p,
    };
    cuts.iter().enumerate().map(point).collect()
}

/// From and to of what lies between the cuts.
fn segments(cuts: &[(usize, f64)], length: usize) -> Vec<(usize, usize)> {
    let starts = std::iter::once(0).chain(cuts.iter().map(|(index, _)| *index));
    let ends = cuts.iter().map(|(index, _)| *index).chain(std::iter::once(length));
    starts.zip(ends).collect()
}

/// The clearest cut of all segments, and how clear it is.
fn best_cut(series: &[f64], segments: &[(usize, usize)]) -> Option<(usize, f64)> {
    let of_one = |(from, to): &(usize, usize)| {
        clearest(&series[*from..*to]).map(|(index, clearness)| (from + index, clearness))
    };
    segments.iter().filter_map(of_one).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// How often values shuffled within their segments have a cut as clear; given up as soon as it is too often.
fn chance(
    series: &[f64],
    segments: &[(usize, usize)],
    clearness: f64,
    significance: f64,
    rng: &mut Xoshiro256PlusPlus,
) -> f64 {
    let shuffles = (FINER / significance).clamp(LEAST_SHUFFLES, MOST_SHUFFLES).round();
    let mut other = series.to_vec();
    let mut as_clear = 1.0;
    for _ in 0..shuffles as usize {
        for (from, to) in segments {
            shuffle(&mut other[*from..*to], rng);
        }
        // Rounding must not make a shuffle clearer than its equal.
        if best_cut(&other, segments).is_some_and(|(_, by_chance)| by_chance >= clearness * (1.0 - 1e-12)) {
            as_clear += 1.0;
        }
        if as_clear / (shuffles + 1.0) > significance {
            break;
        }
    }
    as_clear / (shuffles + 1.0)
}

/// Fisher and Yates.
fn shuffle(values: &mut [f64], rng: &mut Xoshiro256PlusPlus) {
    for last in (1..values.len()).rev() {
        values.swap(last, rng.random_range(0..=last));
    }
}

/// Where the energy distance of the two parts is largest, over all cuts and all ends of the part to the right: with the
/// end fixed, a level that rises and falls again would hide. Sums over rectangles of the distance matrix come from its
/// running sums, so that all pairs of cut and end together take n² steps.
fn clearest(values: &[f64]) -> Option<(usize, f64)> {
    let sums = Sums::of(values);
    let pairs = |count: f64| count * (count - 1.0) / 2.0;
    let mut best: Option<(usize, f64)> = None;
    for end in 2 * LEAST..=values.len() {
        for cut in LEAST..=end - LEAST {
            let (square, wide) = (sums.up_to(cut, cut), sums.up_to(cut, end));
            let (left, across) = (0.5 * square, wide - square);
            let right = 0.5 * (sums.up_to(end, end) - 2.0 * wide + square);
            let (m, n) = (cut as f64, (end - cut) as f64);
            let distance = 2.0 * across / (m * n) - left / pairs(m) - right / pairs(n);
            let clearness = m * n / (m + n) * distance;
            if clearness.is_finite() && clearness > best.map_or(0.0, |(_, most)| most) {
                best = Some((cut, clearness));
            }
        }
    }
    best
}

/// Running sums of the matrix of distances.
struct Sums {
    side: usize,
    sums: Vec<f64>,
}

impl Sums {
    fn of(values: &[f64]) -> Self {
        let side = values.len() + 1;
        let mut sums = vec![0.0; side * side];
        for (row, first) in values.iter().enumerate() {
            let mut so_far = 0.0;
            for (column, second) in values.iter().enumerate() {
                so_far += (first - second).abs();
                sums[(row + 1) * side + column + 1] = sums[row * side + column + 1] + so_far;
            }
        }
        Self { side, sums }
    }

    /// Of the first `rows` rows and `columns` columns.
    fn up_to(&self, rows: usize, columns: usize) -> f64 {
        self.sums[rows * self.side + columns]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::distributions::normal_point;

    /// Normal noise of deviation `noise` about each level.
    fn series(levels: &[(usize, f64)], noise: f64, seed: u64) -> Vec<f64> {
        let mut rng = generator(seed);
        let mut value = |level: f64| level * (1.0 + noise * normal_point(rng.random_range(1e-9..1.0)));
        let mut values = Vec::new();
        for (count, level) in levels {
            values.extend((0..*count).map(|_| value(*level)));
        }
        values
    }

    #[test]
    fn noise_has_no_change_points() {
        let alarms =
            (0..40).filter(|seed| !change_points(&series(&[(30, 1.0)], 0.02, *seed), 0.01, 1).is_empty());
        // 0.4 are expected.
        assert!(alarms.count() <= 2);
    }

    #[test]
    fn a_step_of_five_percent_is_found_where_it_is() {
        let near = (0..20).filter(|seed| {
            let points = change_points(&series(&[(15, 1.0), (15, 1.05)], 0.02, *seed), 0.01, 1);
            points.len() == 1 && points[0].index.abs_diff(15) <= 1 && points[0].after > points[0].before
        });
        assert!(near.count() >= 17);
    }

    #[test]
    fn up_and_down_again_are_two_changes() {
        let points = change_points(&series(&[(15, 1.0), (15, 1.2), (15, 1.0)], 0.02, 5), 0.01, 1);
        let [up, down] = &points[..] else { panic!("{points:?}") };
        assert!(up.index.abs_diff(15) <= 1 && down.index.abs_diff(30) <= 1, "{points:?}");
        assert!((up.after - 1.2).abs() < 0.03 && (down.after - 1.0).abs() < 0.03, "{points:?}");
    }

    #[test]
    fn what_says_nothing_has_none() {
        for values in [vec![], vec![1.0; 5], vec![1.0; 50], vec![f64::NAN; 20], vec![f64::MAX, f64::INFINITY]]
        {
            assert!(change_points(&values, 0.05, 1).is_empty());
        }
        assert!(change_points(&series(&[(9, 1.0), (9, 9.0)], 0.02, 1), 0.0, 1).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn cuts_lie_within_the_series(values in prop::collection::vec(-1e308_f64..1e308, 0..25)) {
            for point in change_points(&values, 0.1, 1) {
                prop_assert!(point.index >= LEAST && point.index + LEAST <= values.len());
            }
        }
    }
}
