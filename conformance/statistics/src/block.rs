//! A block, the unit of evidence: both programs on the same requests, side by side.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, share},
    order::quantile,
};

/// One program's run in a block: for each request, that request's values in nanoseconds.
///
/// A latency such as the gap between chunks has many values a request, others have one. They are kept apart by request
/// because the values of one request rise and fall together: only whole requests may be resampled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(pub Vec<Vec<u64>>);

impl Samples {
    /// Requests with one value each.
    pub fn singles(values: impl IntoIterator<Item = u64>) -> Self {
        Self(values.into_iter().map(|value| vec![value]).collect())
    }
}

/// Both programs, measured next to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The side that the candidate is compared with.
    pub baseline: Samples,
    /// The side that is judged.
    pub candidate: Samples,
}

/// `ln(quantile(candidate) / quantile(baseline))` over each side's pooled values.
///
/// The log, so that twice as slow and twice as fast are equally far from no change. `None` if a side has no value or a
/// quantile of zero.
pub fn log_ratio(block: &Block, q: f64) -> Option<f64> {
    Some(log_quantile(&block.candidate, q)? - log_quantile(&block.baseline, q)?)
}

/// The log ratio of each block, or the first block that has none.
pub fn log_ratios(blocks: &[Block], q: f64) -> Result<Vec<f64>, Error> {
    share("the quantile", q)?;
    let of_one = |(at, block)| log_ratio(block, q).ok_or(Error::NoRatio { block: at });
    blocks.iter().enumerate().map(of_one).collect()
}

fn log_quantile(side: &Samples, q: f64) -> Option<f64> {
    let mut values: Vec<f64> = side.0.iter().flatten().map(|value| *value as f64).collect();
    values.sort_by(f64::total_cmp);
    quantile(&values, q).filter(|value| *value > 0.0).map(f64::ln)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_pooled_values() {
        let baseline = Samples(vec![vec![10, 20], vec![], vec![30]]);
        let block = Block { baseline, candidate: Samples::singles([40, 10, 90]) };
        assert!((log_ratio(&block, 0.5).unwrap() - 2.0_f64.ln()).abs() < 1e-12);
        assert!((log_ratio(&block, 1.0).unwrap() - 3.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn no_values_and_zeros_have_no_ratio() {
        let some = Samples::singles([1]);
        for nothing in [Samples::default(), Samples(vec![vec![]]), Samples::singles([0, 0])] {
            let block = Block { baseline: some.clone(), candidate: nothing };
            assert_eq!(log_ratio(&block, 0.5), None);
            let fine = Block { baseline: some.clone(), candidate: some.clone() };
            assert_eq!(log_ratios(&[fine, block], 0.5), Err(Error::NoRatio { block: 1 }));
        }
    }
}
