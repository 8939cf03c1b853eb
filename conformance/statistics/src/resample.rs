//! The hierarchical bootstrap: blocks with replacement, then whole requests within each side of each drawn block.
//!
//! A side is sorted once, each value with its request. A resample is then a count for each request, and its quantile a
//! walk along the sorted values; nothing is sorted again. Each side's quantile is resampled a few hundred times
//! beforehand, and the outer level draws from these: a block that is drawn two thousand times does not need two
//! thousand fresh resamples to show how far its quantile scatters.
//!
//! Resampling at both levels counts the noise within blocks twice and can widen intervals by up to 41 %; the result
//! is shrunk towards the centre so that the variance is right, as a smoothed bootstrap is.
//! Sources: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, sections 3.4 (shrinking) and 3.8 (levels).

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use crate::{
    block::{Block, Samples},
    error::Error,
    order::{between, hodges_lehmann_in},
};

/// Fewer leave the limits to chance.
pub(crate) const LEAST_RESAMPLES: usize = 100;
/// Resampled quantiles that a side keeps at most; their own noise is a twentieth of what they describe.
const WITHIN_MOST: usize = 400;
const WITHIN_LEAST: usize = 50;
/// Resamples of the outer level for each one within.
const OUTER_PER_INNER: usize = 5;

/// A generator that gives the same numbers on every machine and in every version.
pub(crate) fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Hodges–Lehmann centres of resampled blocks, ascending; `log_ratios` and `centre` are those of the blocks as they are.
pub(crate) fn centres(
    blocks: &[Block],
    log_ratios: &[f64],
    centre: f64,
    q: f64,
    resamples: usize,
    seed: u64,
) -> Result<Vec<f64>, Error> {
    if resamples < LEAST_RESAMPLES {
        return Err(Error::TooFewResamples { needed: LEAST_RESAMPLES, given: resamples });
    }
    let mut rng = generator(seed);
    let within = (resamples / OUTER_PER_INNER).clamp(WITHIN_LEAST, WITHIN_MOST);
    let mut pools = Vec::with_capacity(blocks.len());
    for (at, block) in blocks.iter().enumerate() {
        let mut pool = |side: &Samples| log_quantiles(side, q, within, &mut rng);
        let pair = pool(&block.candidate).zip(pool(&block.baseline));
        pools.push(pair.ok_or(Error::NoRatio { block: at })?);
    }
    let (mut drawn, mut pairs) = (Vec::with_capacity(pools.len()), Vec::new());
    let mut centres: Vec<f64> = (0..resamples)
        .filter_map(|_| {
            drawn.clear();
            drawn.extend((0..pools.len()).map(|_| {
                let (candidate, baseline) = &pools[rng.random_range(0..pools.len())];
                candidate[rng.random_range(0..within)] - baseline[rng.random_range(0..within)]
            }));
            hodges_lehmann_in(&drawn, &mut pairs)
        })
        .collect();
    let within =
        pools.iter().map(|(candidate, baseline)| variance(candidate) + variance(baseline)).sum::<f64>();
    let shrink = shrinkage(variance(log_ratios), within / pools.len() as f64);
    for resampled in &mut centres {
        *resampled = centre + shrink * (*resampled - centre);
    }
    centres.sort_by(f64::total_cmp);
    Ok(centres)
}

/// The blocks' ratios scatter by `observed`, in which the scatter `within` blocks is already contained. Resampling within
/// blocks adds it a second time; shrinking the whole by this factor takes it out again.
fn shrinkage(observed: f64, within: f64) -> f64 {
    if observed > 0.0 { (observed / (observed + within)).sqrt() } else { 1.0 }
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0)
}

/// The logs of the quantile of `times` resamples of whole requests; `None` for a side without values.
fn log_quantiles(side: &Samples, q: f64, times: usize, rng: &mut Xoshiro256PlusPlus) -> Option<Vec<f64>> {
    let requests: Vec<&Vec<u64>> = side.0.iter().filter(|values| !values.is_empty()).collect();
    if requests.is_empty() {
        return None;
    }
    let mut sorted: Vec<(u64, usize)> = (0..)
        .zip(&requests)
        .flat_map(|(request, values)| values.iter().map(move |value| (*value, request)))
        .collect();
    sorted.sort_unstable();
    let mut counts = vec![0_usize; requests.len()];
    let mut resample = || {
        counts.fill(0);
        let mut total = 0;
        for _ in 0..requests.len() {
            let request = rng.random_range(0..requests.len());
            counts[request] += 1;
            total += requests[request].len();
        }
        counted_quantile(&sorted, &counts, total, q)
    };
    // A resample may consist of zeros where the sample does not; a nanosecond is the least that a clock can tell.
    Some((0..times).map(|_| resample().max(1.0).ln()).collect())
}

/// The type 7 quantile of `total` values, each as often as its request was drawn.
fn counted_quantile(sorted: &[(u64, usize)], counts: &[usize], total: usize, q: f64) -> f64 {
    let place = q.clamp(0.0, 1.0) * (total.saturating_sub(1) as f64);
    let (first, second) = (place.floor() as usize, place.ceil() as usize);
    let (mut passed, mut below) = (0, None);
    for (value, request) in sorted {
        passed += counts[*request];
        if passed > first && below.is_none() {
            below = Some(*value as f64);
        }
        if passed > second {
            return between(below.unwrap_or(*value as f64), *value as f64, place.fract());
        }
    }
    below.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::order::quantile;

    #[test]
    fn the_same_seed_gives_the_same_resamples() {
        let side = |by: u64| Samples::singles((0..30).map(|i| 1000 + i * by));
        let blocks: Vec<Block> =
            (1..10).map(|i| Block { baseline: side(i), candidate: side(11 - i) }).collect();
        let ratios = crate::block::log_ratios(&blocks, 0.5).unwrap();
        let with = |seed| centres(&blocks, &ratios, 0.0, 0.5, 200, seed).unwrap();
        let first = with(7);
        assert_eq!(first, with(7));
        assert_ne!(first, with(8));
        assert!(first.is_sorted());
    }

    #[test]
    fn noise_within_blocks_counts_once() {
        assert_eq!((shrinkage(1.0, 0.0), shrinkage(0.0, 1.0)), (1.0, 1.0));
        assert!((shrinkage(2.0, 2.0) - 0.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn whole_requests_are_drawn() {
        // One request holds all the slow gaps: they come together or not at all, so the median takes few values.
        let side = Samples(vec![vec![10; 5], vec![1000; 5]]);
        let logs = log_quantiles(&side, 0.5, 200, &mut generator(1)).unwrap();
        let (slow, fast) = (1000_f64.ln(), 10_f64.ln());
        let middle = 505_f64.ln();
        for log in &logs {
            assert!([slow, fast, middle].iter().any(|known| (log - known).abs() < 1e-9), "{}", log.exp());
        }
        assert!(logs.iter().any(|log| *log > middle + 0.1) && logs.iter().any(|log| *log < middle - 0.1));
    }

    proptest! {
        #[test]
        fn counting_is_as_good_as_copying(
            requests in prop::collection::vec((prop::collection::vec(1_u64..1000, 1..5), 0_usize..4), 1..20),
            q in 0.0..1.0,
        ) {
            let mut sorted: Vec<(u64, usize)> = requests.iter().enumerate()
                .flat_map(|(at, (values, _))| values.iter().map(move |value| (*value, at))).collect();
            sorted.sort_unstable();
            let counts: Vec<usize> = requests.iter().map(|(_, count)| *count).collect();
            let mut copies: Vec<f64> = requests.iter()
                .flat_map(|(values, count)| values.iter().flat_map(|value| vec![*value as f64; *count])).collect();
            copies.sort_by(f64::total_cmp);
            let expected = quantile(&copies, q).unwrap_or(0.0);
            prop_assert!((counted_quantile(&sorted, &counts, copies.len(), q) - expected).abs() < 1e-9);
        }
    }
}
