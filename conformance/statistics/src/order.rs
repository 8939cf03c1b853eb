//! Quantiles, medians and the Hodges–Lehmann centre: what depends on the order of values only.

/// The `q` quantile of ascending values: Hyndman and Fan's type 7, as R and NumPy have it by default.
///
/// With `h = (n − 1) q` it is `x[⌊h⌋] + (h − ⌊h⌋)(x[⌊h⌋ + 1] − x[⌊h⌋])`. `q` outside of 0 to 1 means the nearer end;
/// `None` without values. Source: Hyndman & Fan, "Sample Quantiles in Statistical Packages", 1996.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q.clamp(0.0, 1.0) * (sorted.len().checked_sub(1)? as f64);
    let (below, above) = (*sorted.get(place.floor() as usize)?, *sorted.get(place.ceil() as usize)?);
    Some(between(below, above, place.fract()))
}

/// The middle value; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// The median of the means of all pairs, each value paired with itself too; `None` without values.
///
/// `median { (x_i + x_j) / 2 : i ≤ j }`. Nearly as precise as the mean where the mean is best (95 %), and up to 29 % of
/// the values may be arbitrarily wrong. Source: Hodges & Lehmann, "Estimates of Location Based on Rank Tests", 1963.
/// Takes n²/2 steps and as much room: meant for blocks, not for requests.
pub fn hodges_lehmann(values: &[f64]) -> Option<f64> {
    hodges_lehmann_in(values, &mut Vec::new())
}

/// As [`hodges_lehmann`], in a buffer that the caller keeps: a bootstrap asks thousands of times.
pub(crate) fn hodges_lehmann_in(values: &[f64], pairs: &mut Vec<f64>) -> Option<f64> {
    pairs.clear();
    for (at, first) in values.iter().enumerate() {
        // Halved before they are added: the sum of two huge values is infinite.
        pairs.extend(values[at..].iter().map(|second| 0.5 * first + 0.5 * second));
    }
    let middle = pairs.len().checked_sub(1)? / 2;
    let even = pairs.len().is_multiple_of(2);
    let (_, low, above) = pairs.select_nth_unstable_by(middle, f64::total_cmp);
    let next = above.iter().copied().min_by(f64::total_cmp);
    Some(match next {
        Some(next) if even => between(*low, next, 0.5),
        _ => *low,
    })
}

/// A point on the way from `below` to `above`.
pub(crate) fn between(below: f64, above: f64, part: f64) -> f64 {
    if part > 0.0 { below * (1.0 - part) + above * part } else { below }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_r() {
        // R: quantile(c(1, 2, 4, 8, 16), c(0, .1, .25, .5, .9, 1))
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (q, r) in [(0.0, 1.0), (0.1, 1.4), (0.25, 2.0), (0.5, 4.0), (0.9, 12.8), (1.0, 16.0)] {
            assert!((quantile(&values, q).unwrap() - r).abs() < 1e-12, "{q}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&values, 7.0), Some(16.0));
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_centre_is_the_median_of_the_means_of_pairs() {
        // Pairs of 1, 2, 9: 1, 1.5, 5, 2, 5.5, 9.
        assert_eq!(hodges_lehmann(&[9.0, 1.0, 2.0]), Some(3.5));
        assert_eq!(hodges_lehmann(&[4.0]), Some(4.0));
        assert_eq!(hodges_lehmann(&[]), None);
    }

    #[test]
    fn a_quarter_of_wrong_values_hardly_moves_the_centre() {
        let mut values: Vec<f64> = (0..20).map(|i| 1.0 + f64::from(i) / 100.0).collect();
        let clean = hodges_lehmann(&values).unwrap();
        for value in values.iter_mut().step_by(4) {
            *value = 1e9;
        }
        assert!((hodges_lehmann(&values).unwrap() - clean).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn centres_lie_among_the_values(mut values in prop::collection::vec(-1e300_f64..1e300, 1..40), q in 0.0..1.0) {
            let centre = hodges_lehmann(&values).unwrap();
            values.sort_by(f64::total_cmp);
            let (low, high) = (values[0], values[values.len() - 1]);
            prop_assert!(low <= centre && centre <= high);
            let at = quantile(&values, q).unwrap();
            prop_assert!(low - 1e287 <= at && at <= high + 1e287);
        }
    }
}
