//! When to look, and how strict to be at each look so that all of them together stay within `alpha`.
//!
//! Looking three times at the 5 % level raises a false alarm more often than in 5 % of cases. Lan and DeMets let a
//! function say how much of alpha may be spent by the time a share `t` of the blocks is in; the O'Brien–Fleming-like
//! `2 (1 − Φ(z(1 − α/2) / √t))` spends almost nothing early, so the last look is nearly as sharp as a single one. The
//! boundary at each look follows from the joint distribution of the looks, by the recursion of Armitage, McPherson and
//! Rowe. It is handed out as a one-sided level, which may then be used with Student's t or a bootstrap.
//! Sources: Lan & DeMets, "Discrete Sequential Boundaries for Clinical Trials", 1983; Armitage, McPherson & Rowe, 1969;
//! Jennison & Turnbull, "Group Sequential Methods", 2000, sections 3.8 (levels with t) and 7.2.

use serde::{Deserialize, Serialize};

use crate::{
    distributions::{normal_density, normal_point, normal_upper},
    error::Error,
};

/// Points on the grid over which densities are integrated; even, as Simpson's rule asks.
const GRID: usize = 200;
/// Standard deviations below the centre where nothing is left.
const BOTTOM: f64 = 7.0;

/// When to look and how sure to be; fixed before the first block is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookSchedule {
    /// The number of blocks at each look, growing.
    pub looks: Vec<usize>,
    /// The chance, over all looks and metrics, of a FAIL for a candidate that is no slower than the least effect; and
    /// equally of a PASS for one that is slower. One-sided.
    pub alpha: f64,
    /// Number of resamples of the bootstrap.
    pub resamples: usize,
    /// The same seed gives the same verdict.
    pub seed: u64,
}

impl Default for LookSchedule {
    fn default() -> Self {
        Self { looks: vec![6, 12, 20], alpha: 0.05, resamples: 2000, seed: 1 }
    }
}

impl LookSchedule {
    /// The one-sided level of each look if `alpha` is spent over all of them.
    pub fn levels(&self, alpha: f64) -> Result<Vec<f64>, Error> {
        let grows = self.looks.is_sorted_by(|before, after| before < after);
        let starts = self.looks.first().is_some_and(|first| *first >= 2);
        if !(grows && starts && alpha > 0.0 && alpha < 0.5) {
            return Err(Error::LookSchedule);
        }
        let last = self.looks.last().copied().unwrap_or_default() as f64;
        let shares: Vec<f64> = self.looks.iter().map(|look| *look as f64 / last).collect();
        Ok(boundaries(&shares, alpha).into_iter().map(normal_upper).collect())
    }

    /// Whether `look`, counted from 1, is the last.
    pub fn is_last(&self, look: usize) -> bool {
        look >= self.looks.len()
    }
}

/// How much of `alpha` is spent when the share `t` of the blocks is in.
fn spent(alpha: f64, t: f64) -> f64 {
    2.0 * normal_upper(normal_point(0.5 * alpha) / t.sqrt())
}

/// The z at each share of the information where the increment of [`spent`] is used up.
fn boundaries(shares: &[f64], alpha: f64) -> Vec<f64> {
    let mut found = Vec::with_capacity(shares.len());
    // The sum process: at share t it is normal with variance t, and only paths below all earlier boundaries are left.
    let mut alive = Alive::start();
    let (mut before, mut used) = (0.0, 0.0);
    for share in shares {
        let (step, wanted) = ((share - before).sqrt(), spent(alpha, *share) - used);
        let end = share.sqrt();
        let (mut low, mut high) = (0.0, 40.0);
        for _ in 0..48 {
            let middle = 0.5 * (low + high);
            if alive.above(middle * end, step) > wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        let z = 0.5 * (low + high);
        found.push(z);
        alive = alive.next(-BOTTOM * end, z.min(BOTTOM) * end, step);
        (before, used) = (*share, used + wanted);
    }
    found
}

/// Paths that have not crossed yet: weighted points.
struct Alive(Vec<(f64, f64)>);

impl Alive {
    fn start() -> Self {
        Self(vec![(0.0, 1.0)])
    }

    /// The weight that is above `bound` one normal step of deviation `step` later.
    fn above(&self, bound: f64, step: f64) -> f64 {
        self.0.iter().map(|(at, weight)| weight * normal_upper((bound - at) / step)).sum()
    }

    /// What is alive between `low` and `high` after the step.
    fn next(&self, low: f64, high: f64, step: f64) -> Self {
        let width = (high - low) / GRID as f64;
        let simpson = |at: usize| match at {
            0 | GRID => 1.0,
            odd if odd % 2 == 1 => 4.0,
            _ => 2.0,
        };
        let density = |x: f64| {
            self.0.iter().map(|(at, weight)| weight * normal_density((x - at) / step) / step).sum::<f64>()
        };
        let point = |at: usize| {
            let x = low + width * at as f64;
            (x, density(x) * simpson(at) * width / 3.0)
        };
        Self((0..=GRID).map(point).collect())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::resample::generator;

    #[test]
    fn the_boundaries_are_those_that_were_published() {
        // Five equal looks, one-sided 0.025: the table of the ldbounds package and of Reboussin et al., 2000.
        let found = boundaries(&[0.2, 0.4, 0.6, 0.8, 1.0], 0.025);
        for (got, table) in found.iter().zip([4.8769, 3.3569, 2.6803, 2.2898, 2.0310]) {
            assert!((got - table).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn one_look_spends_all() {
        let plan = LookSchedule { looks: vec![20], ..LookSchedule::default() };
        assert!((plan.levels(0.05).unwrap()[0] - 0.05).abs() < 1e-9);
    }

    #[test]
    fn many_looks_cross_as_often_as_was_promised() {
        let plan = LookSchedule::default();
        let bounds: Vec<f64> = plan.levels(0.05).unwrap().into_iter().map(normal_point).collect();
        let mut rng = generator(3);
        let trials = 20_000;
        let crossed = (0..trials)
            .filter(|_| {
                let (mut sum, mut count) = (0.0, 0);
                plan.looks.iter().zip(&bounds).any(|(look, bound)| {
                    while count < *look {
                        sum += normal_point(rng.random_range(1e-12..1.0));
                        count += 1;
                    }
                    sum / (count as f64).sqrt() > *bound
                })
            })
            .count();
        let share = crossed as f64 / f64::from(trials);
        // Four standard deviations of a share of 5 % among 20 000.
        assert!((share - 0.05).abs() < 4.0 * 0.00154, "{share}");
    }

    #[test]
    fn early_looks_are_strict_and_late_looks_close_together_are_fine() {
        let levels = LookSchedule::default().levels(0.05).unwrap();
        assert!(levels[0] < 0.001 && levels[1] < 0.02 && levels[2] > 0.04, "{levels:?}");
        let dense = LookSchedule { looks: (6..=20).collect(), ..LookSchedule::default() };
        let levels = dense.levels(0.05).unwrap();
        assert!(levels.is_sorted() && levels[14] > 0.02 && levels[14] < 0.05, "{levels:?}");
    }

    #[test]
    fn a_plan_that_is_none_is_refused() {
        for looks in [vec![], vec![1, 5], vec![6, 6], vec![9, 3]] {
            assert_eq!(
                LookSchedule { looks, ..LookSchedule::default() }.levels(0.05),
                Err(Error::LookSchedule)
            );
        }
        for alpha in [0.0, 0.5, f64::NAN] {
            assert_eq!(LookSchedule::default().levels(alpha), Err(Error::LookSchedule));
        }
    }
}
