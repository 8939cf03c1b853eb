//! Which differences are only noise on a host: the estimator, run on blocks whose two sides are the same program.

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, log_ratios},
    error::{Error, share},
    order::{hodges_lehmann_in, quantile},
    resample::{LEAST_RESAMPLES, generator},
};

/// Fewer blocks say nothing of a 95 % bound.
const LEAST_BLOCKS: usize = 6;

/// The floor of one quantile of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// The quantile, such as 0.5.
    pub quantile: f64,
    /// As an effect: 0.03 if this host turns nothing into ratios up to 1.03.
    pub floor: f64,
    /// How many blocks the estimator had.
    pub planned: usize,
    /// How many A/A blocks the floor was learnt from.
    pub seen: usize,
}

/// The bound below which `confidence` of the absolute log ratios lie that the estimator finds with `planned` blocks.
///
/// Draws `planned` of the A/A blocks with replacement, takes their Hodges–Lehmann centre, and repeats. Signs are kept:
/// if the side that runs first is always slower, that is the host's too, and no number of blocks averages it out. The
/// result is widened by √(n / (n − 1)), as resampling n blocks divides by n.
pub fn calibrate(
    blocks: &[Block],
    q: f64,
    planned: usize,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Result<Floor, Error> {
    share("the confidence", confidence)?;
    let ratios = log_ratios(blocks, q)?;
    if ratios.len() < LEAST_BLOCKS {
        return Err(Error::TooFewBlocks { needed: LEAST_BLOCKS, given: ratios.len() });
    }
    if planned == 0 {
        return Err(Error::TooFewBlocks { needed: 1, given: planned });
    }
    if resamples < LEAST_RESAMPLES {
        return Err(Error::TooFewResamples { needed: LEAST_RESAMPLES, given: resamples });
    }
    let mut rng = generator(seed);
    let mut pairs = Vec::new();
    let mut found: Vec<f64> = (0..resamples)
        .filter_map(|_| {
            let drawn: Vec<f64> = (0..planned).map(|_| ratios[rng.random_range(0..ratios.len())]).collect();
            hodges_lehmann_in(&drawn, &mut pairs).map(f64::abs)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let blocks = ratios.len() as f64;
    let bound = quantile(&found, confidence).unwrap_or(0.0) * (blocks / (blocks - 1.0)).sqrt();
    Ok(Floor { quantile: q, floor: bound.exp_m1(), planned, seen: ratios.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block::Samples, distributions::normal_point};

    /// Blocks whose log ratios are normal with deviation 3 % about `bias`.
    fn same(count: u32, bias: f64) -> Vec<Block> {
        let ratio = |i: u32| (bias + 0.03 * normal_point((f64::from(i) + 0.5) / f64::from(count))).exp();
        let block = |i| Block {
            baseline: Samples::singles([1_000_000; 5]),
            candidate: Samples::singles([(1e6 * ratio(i)) as u64; 5]),
        };
        (0..count).map(block).collect()
    }

    #[test]
    fn the_floor_is_what_the_noise_makes_of_nothing() {
        let floor = |planned| calibrate(&same(40, 0.0), 0.5, planned, 0.95, 4000, 1).unwrap().floor;
        // 1.96 standard errors of 3 % / √20, and twice as much with a quarter of the blocks.
        assert!((floor(20) / 0.0131 - 1.0).abs() < 0.15, "{}", floor(20));
        assert!((floor(5) / 0.0262 - 1.0).abs() < 0.2, "{}", floor(5));
    }

    #[test]
    fn a_bias_of_the_host_is_in_its_floor() {
        let floor = calibrate(&same(20, 0.04), 0.5, 20, 0.95, 1000, 1).unwrap();
        assert!(floor.floor > 0.045, "{floor:?}");
    }

    #[test]
    fn too_little_is_refused() {
        let few = calibrate(&same(5, 0.0), 0.5, 20, 0.95, 1000, 1);
        assert_eq!(few, Err(Error::TooFewBlocks { needed: 6, given: 5 }));
        assert!(calibrate(&same(9, 0.0), 0.5, 0, 0.95, 1000, 1).is_err());
        assert!(calibrate(&same(9, 0.0), 0.5, 20, 0.95, 3, 1).is_err());
        assert!(calibrate(&same(9, 0.0), 0.5, 20, 1.5, 1000, 1).is_err());
    }
}
