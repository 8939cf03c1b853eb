//! How far a high percentile of few values can be trusted. Pure.
//!
//! The interval is free of assumptions about the distribution: between the values of two ranks the true percentile lies with
//! 95 % confidence, because how many of n values lie below it is binomial (David and Nagaraja, "Order Statistics", 7.1).

/// The ranks, counted from 0, between whose values the quantile lies with 95 % confidence. The upper one is `None` where
/// there are too few values above for a limit.
pub(crate) fn ranks(count: usize, quantile: f64) -> Option<(usize, Option<usize>)> {
    if count == 0 || !(0.0..1.0).contains(&quantile) {
        return None;
    }
    // How many values lie above the true quantile: binomial with a small mean.
    let above = 1.0 - quantile;
    let fewest = least(count, above, ERROR / 2.0);
    let most = least(count, above, 1.0 - ERROR / 2.0);
    let upper = (fewest > 0).then(|| count - fewest);
    Some((count.saturating_sub(most + 1), upper))
}

/// The least k with P(X ≤ k) > p, where X is binomial.
fn least(count: usize, share: f64, p: f64) -> usize {
    let n = count as f64;
    if n > MANY {
        let (mean, deviation) = (n * share, (n * share * (1.0 - share)).sqrt());
        let z = if p < 0.5 { -NORMAL } else { NORMAL };
        return (mean + z * deviation).max(0.0) as usize;
    }
    let mut probability = (n * (-share).ln_1p()).exp();
    let mut sum = probability;
    for k in 0..count {
        if sum > p {
            return k;
        }
        probability *= (n - k as f64) / (k as f64 + 1.0) * share / (1.0 - share);
        sum += probability;
    }
    count
}

/// Chance that the true value lies outside the limits, on both sides together.
const ERROR: f64 = 0.05;
/// The normal distribution's 97.5th percentile.
const NORMAL: f64 = 1.96;
/// From here on the normal distribution is near enough, and the exact one would underflow.
const MANY: f64 = 20_000.0;

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn a_hundred_values_have_no_upper_limit_and_many_have_a_narrow_one() {
        let (low, high) = ranks(100, 0.99).unwrap();
        assert_eq!((low, high), (96, None));
        assert!(ranks(1000, 0.99).unwrap().1.is_some());
        let (low, high) = ranks(1_000_000, 0.99).unwrap();
        assert!(low > 989_000 && high.unwrap() < 991_000);
        assert_eq!(ranks(0, 0.99), None);
    }

    #[test]
    fn the_true_percentile_lies_between_in_95_of_100_samples() {
        let mut rng = StdRng::seed_from_u64(1);
        for count in [100, 400, 3000] {
            let (low, high) = ranks(count, 0.99).unwrap();
            let mut inside = 0;
            for _ in 0..500 {
                let mut values: Vec<f64> = (0..count).map(|_| rng.random()).collect();
                values.sort_by(f64::total_cmp);
                // The true 99th percentile of an even distribution over 0 to 1.
                inside += usize::from(values[low] <= 0.99 && high.is_none_or(|high| values[high] >= 0.99));
            }
            assert!(inside >= 460, "{count}: {inside} of 500");
        }
    }
}
