//! Where the true ratio lies, given the blocks seen.
//!
//! Under eight blocks there is too little to resample and Student's t over the blocks' log ratios is used. From eight
//! on it is the percentile interval of a hierarchical bootstrap, with two corrections that few blocks and strict
//! levels need: the tails are widened so that the interval is Student's where the data are normal (Hesterberg's
//! expanded percentile interval; the plain one is too narrow by √(n / (n − 1)) and by the difference between t and
//! normal), and beyond the outer tenths of the resamples the limit is extrapolated along a normal tail.
//! Source: Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 5.3.

use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, log_ratios},
    distributions::{normal_point, normal_upper, student_point, student_upper},
    error::{Error, share},
    order::{hodges_lehmann, quantile},
    resample::centres,
};

/// From this number of blocks on, blocks are resampled.
const ENOUGH_TO_RESAMPLE: usize = 8;
/// The share of resamples beyond which limits are extrapolated. Generous, because a resample of twelve blocks that draws
/// the one outlier four times is no rarity (1 in 70), and then the centre follows the outlier: further out than this the
/// resamples tell of outliers that were drawn too often, not of where the ratio lies.
const OUTERMOST: f64 = 0.1;

/// The ratio candidate / baseline of a quantile, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The Hodges–Lehmann centre of the blocks' ratios; 1 is no change.
    pub ratio: f64,
    /// Lower limit of the ratio.
    pub low: f64,
    /// Upper limit of the ratio.
    pub high: f64,
    /// How the limits were found.
    pub method: Method,
}

/// How limits were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Student's t over the blocks' log ratios.
    StudentT,
    /// The expanded percentile interval of the hierarchical bootstrap.
    HierarchicalBootstrap,
}

/// The two-sided `confidence` interval of the ratio of the `q` quantile.
pub fn interval(
    blocks: &[Block],
    q: f64,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Result<Estimate, Error> {
    let tail = 0.5 * (1.0 - share("the confidence", confidence)?);
    let evidence = Evidence::of(blocks, q, resamples, seed)?;
    Ok(Estimate {
        ratio: evidence.centre.exp(),
        low: evidence.lower(tail).exp(),
        high: evidence.upper(tail).exp(),
        method: evidence.method(),
    })
}

/// What the blocks say of the log ratio: any number of limits and p-values from one bootstrap.
pub(crate) struct Evidence {
    /// The log ratio of each block.
    pub(crate) log_ratios: Vec<f64>,
    /// Their Hodges–Lehmann centre.
    pub(crate) centre: f64,
    spread: Spread,
}

enum Spread {
    Student {
        mean: f64,
        error: f64,
    },
    /// Resampled centres, ascending.
    Resampled(Vec<f64>),
}

impl Evidence {
    pub(crate) fn of(blocks: &[Block], q: f64, resamples: usize, seed: u64) -> Result<Self, Error> {
        let log_ratios = log_ratios(blocks, q)?;
        let too_few = Error::TooFewBlocks { needed: 2, given: blocks.len() };
        let Some(centre) = hodges_lehmann(&log_ratios).filter(|_| blocks.len() >= 2) else {
            return Err(too_few);
        };
        let spread = if blocks.len() < ENOUGH_TO_RESAMPLE {
            let count = log_ratios.len() as f64;
            let mean = log_ratios.iter().sum::<f64>() / count;
            let squares: f64 = log_ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
            Spread::Student { mean, error: (squares / (count - 1.0) / count).sqrt() }
        } else {
            Spread::Resampled(centres(blocks, &log_ratios, centre, q, resamples, seed)?)
        };
        Ok(Self { log_ratios, centre, spread })
    }

    /// The limit that the true log ratio lies below with probability `tail`; never above the centre.
    pub(crate) fn lower(&self, tail: f64) -> f64 {
        self.limit(student_point(tail, self.freedom()), -1.0).min(self.centre)
    }

    /// The limit that the true log ratio lies above with probability `tail`; never below the centre.
    pub(crate) fn upper(&self, tail: f64) -> f64 {
        self.limit(student_point(tail, self.freedom()), 1.0).max(self.centre)
    }

    /// The one-sided p-value of "the true log ratio is not above `threshold`": the tail whose lower limit is there.
    pub(crate) fn p_not_above(&self, threshold: f64) -> f64 {
        let t = match &self.spread {
            Spread::Student { mean, error } => studentised(mean - threshold, *error),
            Spread::Resampled(centres) => self.expansion().recip() * normal_score(centres, threshold),
        };
        student_upper(t, self.freedom())
    }

    /// The standard deviation of the centre, from the middle two thirds of the resamples where there are some.
    pub(crate) fn standard_error(&self) -> f64 {
        match &self.spread {
            Spread::Student { error, .. } => *error,
            Spread::Resampled(centres) => {
                let sixth = normal_upper(1.0);
                let at = |q| quantile(centres, q).unwrap_or(self.centre);
                0.5 * self.expansion() * (at(1.0 - sixth) - at(sixth))
            }
        }
    }

    pub(crate) fn freedom(&self) -> f64 {
        self.log_ratios.len() as f64 - 1.0
    }

    fn method(&self) -> Method {
        match self.spread {
            Spread::Student { .. } => Method::StudentT,
            Spread::Resampled(_) => Method::HierarchicalBootstrap,
        }
    }

    /// Where the limit lies that is `t` of Student's units from the centre, to the side of `sign`.
    fn limit(&self, t: f64, sign: f64) -> f64 {
        match &self.spread {
            Spread::Student { mean, error } => mean + sign * t * error,
            Spread::Resampled(centres) => at_normal_score(centres, sign * t * self.expansion()),
        }
    }

    /// Resampling n blocks divides by n where an unbiased variance divides by n − 1.
    fn expansion(&self) -> f64 {
        let count = self.log_ratios.len() as f64;
        (count / (count - 1.0)).sqrt()
    }
}

/// The resampled value at the normal score `z`: its quantile, or what lies on a normal tail beyond the outermost.
fn at_normal_score(centres: &[f64], z: f64) -> f64 {
    let (middle, outer) = (quantile(centres, 0.5).unwrap_or(0.0), OUTERMOST);
    let edge = normal_point(outer);
    let at = |tail: f64| quantile(centres, if z < 0.0 { tail } else { 1.0 - tail }).unwrap_or(middle);
    if z.abs() <= edge { at(normal_upper(z.abs())) } else { middle + (at(outer) - middle) * z.abs() / edge }
}

/// The inverse: by how many normal scores `threshold` lies below the middle of the resamples.
fn normal_score(centres: &[f64], threshold: f64) -> f64 {
    let (middle, outer) = (quantile(centres, 0.5).unwrap_or(0.0), OUTERMOST);
    let at = |q| quantile(centres, q).unwrap_or(middle);
    if threshold < at(outer) {
        studentised(middle - threshold, (middle - at(outer)) / normal_point(outer))
    } else if threshold > at(1.0 - outer) {
        studentised(middle - threshold, (at(1.0 - outer) - middle) / normal_point(outer))
    } else {
        let below = centres.partition_point(|centre| *centre <= threshold) as f64 / centres.len() as f64;
        normal_point(below.clamp(outer, 1.0 - outer))
    }
}

/// `distance / error`; without any error all distances but none are infinite.
fn studentised(distance: f64, error: f64) -> f64 {
    if error > 0.0 {
        distance / error
    } else if distance > 0.0 {
        f64::INFINITY
    } else if distance < 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Samples;

    /// A block whose every request takes `ratio` times as long on the candidate's side.
    fn block(ratio: f64) -> Block {
        let side = |factor: f64| {
            Samples::singles((0..50).map(|i| (1e6 * factor * (1.0 + f64::from(i) / 500.0)) as u64))
        };
        Block { baseline: side(1.0), candidate: side(ratio) }
    }

    #[test]
    fn few_blocks_give_students_interval() {
        let blocks: Vec<Block> = [1.1, 1.2, 1.3].map(block).to_vec();
        let estimate = interval(&blocks, 0.5, 0.95, 2000, 1).unwrap();
        assert_eq!(estimate.method, Method::StudentT);
        // R: exp(t.test(log(c(1.1, 1.2, 1.3)))$conf.int)
        let logs = [1.1_f64.ln(), 1.2_f64.ln(), 1.3_f64.ln()];
        let mean = logs.iter().sum::<f64>() / 3.0;
        let error = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 6.0).sqrt();
        assert!((estimate.low - (mean - 4.302_652_73 * error).exp()).abs() < 1e-5, "{estimate:?}");
        assert!((estimate.high - (mean + 4.302_652_73 * error).exp()).abs() < 1e-5, "{estimate:?}");
    }

    #[test]
    fn many_blocks_are_resampled_and_an_outlier_is_shrugged_off() {
        let mut blocks: Vec<Block> = (0..20).map(|i| block(1.08 + 0.002 * f64::from(i))).collect();
        blocks[3] = block(2.0);
        let estimate = interval(&blocks, 0.5, 0.95, 2000, 1).unwrap();
        assert_eq!(estimate.method, Method::HierarchicalBootstrap);
        assert!(estimate.low > 1.07 && estimate.high < 1.15, "{estimate:?}");
        assert!(estimate.low < 1.1 && 1.1 < estimate.high, "{estimate:?}");
        assert_eq!(interval(&blocks, 0.5, 0.95, 2000, 1).unwrap(), estimate);
    }

    #[test]
    fn more_confidence_is_wider_and_limits_and_p_values_agree() {
        for count in [5, 20] {
            let blocks: Vec<Block> = (0..count).map(|i| block(1.0 + 0.01 * f64::from(i % 7))).collect();
            let evidence = Evidence::of(&blocks, 0.5, 2000, 1).unwrap();
            let mut before = evidence.centre;
            for tail in [0.3, 0.1, 0.03, 0.01, 1e-3, 1e-5] {
                let low = evidence.lower(tail);
                assert!(low < before, "{count} {tail}");
                assert!((evidence.p_not_above(low) / tail - 1.0).abs() < 0.02, "{count} {tail}");
                before = low;
            }
        }
    }

    #[test]
    fn blocks_without_noise_have_no_width() {
        let same = Block { baseline: Samples::singles([100; 9]), candidate: Samples::singles([120; 9]) };
        for count in [2, 9] {
            let estimate = interval(&vec![same.clone(); count], 0.99, 0.99, 200, 1).unwrap();
            assert!((estimate.low - 1.2).abs() < 1e-9 && (estimate.high - 1.2).abs() < 1e-9, "{estimate:?}");
        }
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        let blocks = vec![block(1.0); 9];
        assert_eq!(interval(&[], 0.5, 0.95, 200, 1), Err(Error::TooFewBlocks { needed: 2, given: 0 }));
        assert_eq!(
            interval(&blocks[..1], 0.5, 0.95, 200, 1),
            Err(Error::TooFewBlocks { needed: 2, given: 1 })
        );
        assert!(matches!(interval(&blocks, 0.5, 1.0, 200, 1), Err(Error::Share { .. })));
        assert!(matches!(interval(&blocks, f64::NAN, 0.9, 200, 1), Err(Error::Share { .. })));
        assert!(matches!(interval(&blocks, 0.5, 0.9, 0, 1), Err(Error::TooFewResamples { .. })));
    }
}
