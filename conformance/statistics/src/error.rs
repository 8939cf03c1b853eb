//! Why there is no answer. Each case names what the caller can change.

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Uncertainty needs repetition.
    #[error("{needed} blocks are needed, {given} were given")]
    TooFewBlocks {
        /// The least number.
        needed: usize,
        /// The number that was given.
        given: usize,
    },
    /// A side of a block has no value, or its quantile is zero: there is no ratio.
    #[error("block {block} has no ratio: a side of it has no values, or only zeros at the quantile")]
    NoRatio {
        /// Counted from 0.
        block: usize,
    },
    /// A share outside of its range.
    #[error("{name} is {value}, which is not between 0 and 1")]
    Share {
        /// Name of the parameter.
        name: &'static str,
        /// The value that was given.
        value: f64,
    },
    /// Limits computed from no resamples would be made up.
    #[error("{given} resamples are too few: {needed} are needed")]
    TooFewResamples {
        /// The least number.
        needed: usize,
        /// The number that was given.
        given: usize,
    },
    /// The looks of a plan grow, the first has two blocks or more, and alpha lies between 0 and one half.
    #[error("the plan is not one: looks must grow from 2 blocks on, and alpha must lie between 0 and 0.5")]
    LookSchedule,
    /// The plan has no such look.
    #[error("the plan has {planned} looks, so there is no look {given}")]
    Look {
        /// How many looks there are.
        planned: usize,
        /// What was asked for, counted from 1.
        given: usize,
    },
    /// A least effect must be a number, zero or more.
    #[error("the least effect of {metric} is {delta}, which is not a finite number from 0 on")]
    Delta {
        /// The metric of the figure.
        metric: String,
        /// The value that was given.
        delta: f64,
    },
    /// Nothing was measured.
    #[error("there are no figures to judge")]
    NoFigures,
}

/// `value` if it lies strictly between 0 and 1.
pub(crate) fn share(name: &'static str, value: f64) -> Result<f64, Error> {
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(Error::Share { name, value }) }
}
