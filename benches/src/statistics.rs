//! Medians, their uncertainty, and straight lines through points. Pure; the same input gives the same output.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;

pub use ::statistics::median;
use ::statistics::{quantile, student_t_quantile};

/// A range, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Interval {
    /// The value is in it.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// One quantity, measured several times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Median of all values.
    pub median: f64,
    /// The smallest and the largest value.
    pub range: Interval,
    /// Where the median lies with 95 % confidence: the percentile bootstrap.
    pub interval: Interval,
}

impl Summary {
    /// The head of a table of summaries, after its first column's.
    pub const HEAD: &str = "| median | 95 % interval | range |\n|---|---|---|---|";

    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let interval = bootstrap(&sorted)?;
        Some(Self { median: quantile(&sorted, 0.5)?, range: Interval { low, high }, interval })
    }

    /// The end of a table's row: median, interval and range, of a [head](Self::HEAD) with these columns.
    pub fn columns(&self, digits: usize) -> String {
        let Self { median, interval, range } = self;
        format!(
            "| {median:.digits$} | {:.digits$} to {:.digits$} | {:.digits$} to {:.digits$} |",
            interval.low, interval.high, range.low, range.high
        )
    }
}

/// A least-squares line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Growth of y for one of x.
    pub slope: f64,
    /// Where the slope lies with 95 % confidence, if the points scatter independently.
    pub interval: Interval,
}

impl Trend {
    /// `None` for fewer than three points, or for points that are all above one another.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let freedom = points.len().checked_sub(2).filter(|freedom| *freedom > 0)? as f64;
        let (mean_x, mean_y) = (
            points.iter().map(|(x, _)| x).sum::<f64>() / count,
            points.iter().map(|(_, y)| y).sum::<f64>() / count,
        );
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
        let rest: f64 = points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
        let width = student_t_quantile(0.975, freedom)? * (rest / freedom / spread).sqrt();
        Some(Self { slope, interval: Interval { low: slope - width, high: slope + width } })
    }
}

/// Medians of resampled values; the middle 95 % of them. Seeded, so that a report can be computed again.
fn bootstrap(values: &[f64]) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(RESAMPLES as u64);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let sample: Vec<f64> = values.iter().map(|_| values[rng.random_range(0..values.len())]).collect();
            median(&sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&medians, 0.025)?, high: quantile(&medians, 0.975)? })
}

/// Enough that the ends of the interval move by less than they are rounded to.
const RESAMPLES: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_summary_holds_its_median() {
        let values: Vec<f64> = (0..21).map(|i| 0.9 + f64::from(i * 8 % 21) / 100.0).collect();
        let summary = Summary::of(&values).unwrap();
        assert!((summary.median - 1.0).abs() < 1e-9);
        assert!(summary.interval.holds(1.0), "{:?}", summary.interval);
        assert!(summary.interval.low > summary.range.low && summary.interval.high < summary.range.high);
    }

    #[test]
    fn one_value_is_all_there_is() {
        let summary = Summary::of(&[5.0]).unwrap();
        assert_eq!(summary.interval, Interval { low: 5.0, high: 5.0 });
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_line_is_found_in_noise() {
        // Period 4 and mean 0: noise that cannot be mistaken for growth.
        let noise = [1.0, -1.0, 2.0, -2.0];
        let points: Vec<(f64, f64)> =
            (0..40).map(|i| (f64::from(i), 100.0 + 0.5 * f64::from(i) + noise[i as usize % 4])).collect();
        let trend = Trend::fit(&points).unwrap();
        assert!(trend.interval.holds(0.5) && !trend.interval.holds(0.0), "{trend:?}");
        let flat: Vec<(f64, f64)> = points.iter().map(|(x, y)| (*x, y - 0.5 * x)).collect();
        assert!(Trend::fit(&flat).unwrap().interval.holds(0.0));
    }

    #[test]
    fn too_few_points_make_no_line() {
        assert_eq!(Trend::fit(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Trend::fit(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    #[test]
    fn students_t_is_near_the_table() {
        for (freedom, table) in [(4.0, 2.776), (10.0, 2.228), (30.0, 2.042), (1000.0, 1.962)] {
            assert!((student_t_quantile(0.975, freedom).unwrap() / table - 1.0).abs() < 0.02, "{freedom}");
        }
    }
}
