//! Holm's step-down: several metrics are judged at once, and each is one more chance of a false alarm.
//!
//! The smallest p-value of m must be within alpha / m, the next within alpha / (m − 1), and so on; the first that is
//! not ends the alarms. That keeps the chance of any false alarm within alpha however the metrics depend on each other,
//! and p50 and p99 of the same requests do depend. Source: Holm, "A Simple Sequentially Rejective Multiple Test
//! Procedure", 1979; with boundaries of a sequential plan in place of alpha / k: Maurer & Bretz, 2013.

/// What the procedure says of one hypothesis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The level that its p-value was held against; for all after the first that held, that one's.
    pub level: f64,
    /// The hypothesis is rejected: an alarm.
    pub rejected: bool,
}

/// One step for each p-value, in the order given. `level(k)` is the level while `k` hypotheses are left, which must not
/// grow with `k`: `alpha / k` for a single look.
pub fn step_down(p_values: &[f64], level: impl Fn(usize) -> f64) -> Vec<Step> {
    let mut steps = vec![Step { level: 0.0, rejected: false }; p_values.len()];
    let mut stopped = None;
    for (rank, at) in ascending(p_values).into_iter().enumerate() {
        let level = stopped.unwrap_or_else(|| level(p_values.len() - rank));
        let rejected = stopped.is_none() && p_values[at] <= level;
        if !rejected {
            stopped = Some(level);
        }
        steps[at] = Step { level, rejected };
    }
    steps
}

/// Holm's adjusted p-values, in the order given: a hypothesis is rejected at any alpha that is not below its own.
/// `max over the smaller ones of min(1, (m − rank) p)`.
pub fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p_values.len()];
    let mut most = 0.0_f64;
    for (rank, at) in ascending(p_values).into_iter().enumerate() {
        most = most.max(p_values[at] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[at] = most;
    }
    adjusted
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_procedure_is_that_of_r() {
        // R: p.adjust(c(.01, .04, .03, .005), "holm")
        let p = [0.01, 0.04, 0.03, 0.005];
        for (got, r) in adjusted(&p).iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - r).abs() < 1e-12);
        }
        let rejected: Vec<bool> =
            step_down(&p, |left| 0.05 / left as f64).iter().map(|step| step.rejected).collect();
        assert_eq!(rejected, [true, false, false, true]);
    }

    #[test]
    fn after_the_first_that_holds_nothing_is_rejected() {
        // 0.045 alone would be rejected at 0.05; behind 0.03, which needs 0.025, it is not.
        let steps = step_down(&[0.03, 0.045], |left| 0.05 / left as f64);
        assert!(steps.iter().all(|step| !step.rejected && (step.level - 0.025).abs() < 1e-12));
        assert!(step_down(&[], |_| 0.05).is_empty());
    }

    proptest! {
        #[test]
        fn steps_and_adjusted_values_agree(p in prop::collection::vec(0.0_f64..0.2, 0..8)) {
            let steps = step_down(&p, |left| 0.05 / left as f64);
            for (step, adjusted) in steps.iter().zip(adjusted(&p)) {
                // At the very boundary the two round differently.
                prop_assume!((adjusted - 0.05).abs() > 1e-12);
                prop_assert_eq!(step.rejected, adjusted <= 0.05);
            }
        }
    }
}
