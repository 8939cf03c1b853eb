//! What a figure should be, and whether it is.

use std::fmt;

use serde::Serialize;

use crate::statistics::Summary;

/// One goal, judged by the median.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What is measured, in words.
    pub what: String,
    /// With its unit, as it is printed.
    pub wanted: String,
    /// The measured value with its unit, as it is printed.
    pub seen: String,
    /// The median is where it should be.
    pub met: bool,
    /// The interval of the median holds the limit: more rounds might turn it over.
    pub close: bool,
}

impl Goal {
    /// The figure should not be below `limit`; `shown` is how a value is printed.
    pub fn at_least(what: String, seen: &Summary, limit: f64, shown: impl Fn(f64) -> String) -> Self {
        Self {
            what,
            wanted: format!("at least {}", shown(limit)),
            seen: shown(seen.median),
            met: seen.median >= limit,
            close: seen.interval.holds(limit),
        }
    }

    /// The figure should not be above `limit`.
    pub fn at_most(what: String, seen: &Summary, limit: f64, shown: impl Fn(f64) -> String) -> Self {
        let wanted = format!("at most {}", shown(limit));
        Self { wanted, met: seen.median <= limit, ..Self::at_least(what, seen, limit, shown) }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, seen, met, close } = self;
        let verdict = if *met { "PASS" } else { "FAIL" };
        let close = if *close { " (within the interval: more rounds may say otherwise)" } else { "" };
        write!(f, "{verdict}: {what}: {seen}, wanted {wanted}{close}")
    }
}
