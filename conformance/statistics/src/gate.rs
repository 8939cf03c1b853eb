//! The verdict on a candidate: FAIL, PASS or INCONCLUSIVE, for several metrics at once, at one look of a plan.
//!
//! A metric fails when the lower limit of its ratio lies above 1 + delta, and passes when the upper limit lies below.
//! The two limits have levels of their own, because they err in different directions:
//! - **FAIL** of the whole is FAIL of any metric: a union, so more metrics mean more chances. The level is Holm's, with
//!   alpha / k spent over the looks while k metrics are left. Over all looks and metrics a candidate that is no slower
//!   than delta fails with probability alpha at most; one that is no slower at all, far more rarely.
//! - **PASS** of the whole is PASS of every metric: an intersection, which needs no adjustment (Berger,
//!   "Multiparameter Hypothesis Testing and Acceptance Sampling", 1982). Each metric has alpha to spend over the looks.
//!
//! That a metric never passed does not make later looks stricter: a boundary that is not enforced costs nothing.

use serde::{Deserialize, Serialize};

use crate::{
    block::Block,
    distributions::{normal_point, student_point},
    error::{Error, share},
    estimate::Evidence,
    holm::step_down,
    plan::LookSchedule,
};

/// The power at which the detectable effect is stated.
const POWER: f64 = 0.8;

/// What is to be judged: one quantile of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The metric's name, as `ttft`.
    pub metric: String,
    /// The quantile, such as 0.5.
    pub quantile: f64,
    /// The least effect that matters, as 0.05 for a ratio of 1.05.
    pub delta: f64,
    /// The largest difference that is only noise on this host, by [`crate::calibrate`]; raises `delta` to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// The blocks, in the order in which they were measured.
    pub blocks: Vec<Block>,
}

/// What a look comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// No slower than the least effect.
    Pass,
    /// Slower than the least effect.
    Fail,
    /// The blocks give no clear answer.
    Inconclusive,
}

/// What was found of one figure. All ratios are candidate / baseline; 1 is no change, above 1 is slower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The metric of the figure.
    pub metric: String,
    /// The quantile of the figure.
    pub quantile: f64,
    /// The Hodges–Lehmann centre of the blocks' ratios.
    pub centre: f64,
    /// The lower limit, at the level of this look after Holm: above 1 + `threshold` the verdict is FAIL.
    pub low: f64,
    /// The upper limit, at the level of this look: below 1 + `threshold` the verdict is PASS.
    pub high: f64,
    /// The least effect that was used: the one requested, or the host's noise floor if that is higher.
    #[serde(alias = "delta")]
    pub threshold: f64,
    /// The least effect that was requested.
    #[serde(alias = "allowed")]
    pub requested: f64,
    /// The host's floor, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// The effect, as 0.08 for a ratio of 1.08, that a look with this noise and this level fails in 80 % of cases.
    pub detectable: f64,
    /// The verdict on this figure.
    pub verdict: Verdict,
    /// The ratio of each block, in the order measured.
    pub ratios: Vec<f64>,
}

/// What a look comes down to, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// FAIL if any figure fails, PASS if all pass.
    pub verdict: Verdict,
    /// Counted from 1.
    pub look: usize,
    /// How many blocks to have at the next look; none if this was the last or the verdict is in.
    pub next: Option<usize>,
    /// The findings, in the order in which the figures were given.
    pub findings: Vec<Finding>,
}

/// Judges `figures` at a look of `plan`, counted from 1. Every figure needs as many blocks as the look has.
pub fn judge(figures: &[Figure], look: usize, plan: &LookSchedule) -> Result<Judgement, Error> {
    let no_look = Error::Look { planned: plan.looks.len(), given: look };
    let at = look.checked_sub(1).filter(|at| *at < plan.looks.len()).ok_or(no_look)?;
    if figures.is_empty() {
        return Err(Error::NoFigures);
    }
    // While k figures are left, the level of this look out of alpha / k.
    let levels: Vec<f64> = (1..=figures.len())
        .map(|left| Ok(plan.levels(plan.alpha / left as f64)?[at]))
        .collect::<Result<_, Error>>()?;
    let weighed: Vec<Weighed> = (0..)
        .zip(figures)
        .map(|(seed, figure)| Weighed::of(figure, plan, plan.looks[at], plan.seed.wrapping_add(seed)))
        .collect::<Result<_, Error>>()?;
    let p_values: Vec<f64> = weighed.iter().map(|one| one.evidence.p_not_above(one.threshold)).collect();
    let steps = step_down(&p_values, |left| levels[left - 1]);
    let findings: Vec<Finding> =
        weighed.iter().zip(&steps).map(|(one, step)| one.finding(step.level, levels[0])).collect();
    let all = |wanted| findings.iter().all(|finding| finding.verdict == wanted);
    let verdict = if findings.iter().any(|finding| finding.verdict == Verdict::Fail) {
        Verdict::Fail
    } else if all(Verdict::Pass) {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    };
    let next = plan.looks.get(look).copied().filter(|_| verdict == Verdict::Inconclusive);
    Ok(Judgement { verdict, look, next, findings })
}

/// A figure with its evidence.
struct Weighed<'a> {
    figure: &'a Figure,
    evidence: Evidence,
    delta: f64,
    /// ln(1 + delta).
    threshold: f64,
}

impl<'a> Weighed<'a> {
    fn of(figure: &'a Figure, plan: &LookSchedule, needed: usize, seed: u64) -> Result<Self, Error> {
        let delta = figure.floor.map_or(figure.delta, |floor| figure.delta.max(floor));
        if !(figure.delta >= 0.0 && delta.is_finite()) {
            return Err(Error::Delta { metric: figure.metric.clone(), delta: figure.delta });
        }
        share("the quantile", figure.quantile)?;
        if figure.blocks.len() < needed {
            return Err(Error::TooFewBlocks { needed, given: figure.blocks.len() });
        }
        let evidence = Evidence::of(&figure.blocks, figure.quantile, plan.resamples, seed)?;
        Ok(Self { figure, evidence, delta, threshold: delta.ln_1p() })
    }

    fn finding(&self, to_fail: f64, to_pass: f64) -> Finding {
        let evidence = &self.evidence;
        let (low, high) = (evidence.lower(to_fail), evidence.upper(to_pass));
        let verdict = if low > self.threshold {
            Verdict::Fail
        } else if high < self.threshold {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        };
        // The lower limit must clear delta, and does so in POWER of cases if the centre lies that much further out.
        let errors = student_point(to_fail, evidence.freedom()) + normal_point(1.0 - POWER);
        Finding {
            metric: self.figure.metric.clone(),
            quantile: self.figure.quantile,
            centre: evidence.centre.exp(),
            low: low.exp(),
            high: high.exp(),
            threshold: self.delta,
            requested: self.figure.delta,
            floor: self.figure.floor,
            detectable: (self.threshold + errors * evidence.standard_error()).exp_m1(),
            verdict,
            ratios: evidence.log_ratios.iter().map(|ratio| ratio.exp()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Samples;

    /// Blocks whose ratios lie around `ratio`, give or take 1 %.
    fn figure(metric: &str, ratio: f64, blocks: u32) -> Figure {
        let side = |by: f64| Samples::singles((0..40).map(|i| (by * (1e6 + 1e3 * f64::from(i))) as u64));
        let block = |i: u32| Block {
            baseline: side(1.0),
            candidate: side(ratio * (1.0 + 0.01 * (f64::from(i * 7 % 5) - 2.0) / 2.0)),
        };
        Figure {
            metric: metric.into(),
            quantile: 0.5,
            delta: 0.05,
            floor: None,
            blocks: (0..blocks).map(block).collect(),
        }
    }

    #[test]
    fn clear_cases_are_clear_at_the_first_look() {
        let plan = LookSchedule::default();
        let judgement = judge(&[figure("ttft", 1.3, 6), figure("e2e", 1.05, 6)], 1, &plan).unwrap();
        assert_eq!(judgement.verdict, Verdict::Fail);
        assert_eq!(judgement.next, None);
        let [ttft, e2e] = &judgement.findings[..] else { panic!("two figures") };
        assert_eq!((ttft.verdict, e2e.verdict), (Verdict::Fail, Verdict::Inconclusive));
        assert!(ttft.low > 1.05 && ttft.centre < ttft.high && (ttft.centre - 1.3).abs() < 0.01, "{ttft:?}");
        assert_eq!(ttft.ratios.len(), 6);
        let judgement = judge(&[figure("ttft", 1.0, 12), figure("e2e", 0.7, 12)], 2, &plan).unwrap();
        assert_eq!(judgement.verdict, Verdict::Pass, "{judgement:?}");
    }

    #[test]
    fn what_lies_at_the_least_effect_asks_for_more_until_the_last_look() {
        let plan = LookSchedule::default();
        let next = |look, blocks| {
            let judgement = judge(&[figure("ttft", 1.05, blocks)], look, &plan).unwrap();
            assert_eq!(judgement.verdict, Verdict::Inconclusive);
            judgement.next
        };
        assert_eq!((next(1, 6), next(2, 12), next(3, 20)), (Some(12), Some(20), None));
    }

    #[test]
    fn a_hosts_floor_raises_the_least_effect_and_never_lowers_it() {
        let plan = LookSchedule { looks: vec![6], ..LookSchedule::default() };
        let with = |floor| {
            let figure = Figure { floor: Some(floor), ..figure("ttft", 1.1, 6) };
            let judgement = judge(&[figure], 1, &plan).unwrap();
            let Finding { threshold, requested, floor, .. } = judgement.findings[0];
            (judgement.verdict, threshold, requested, floor)
        };
        assert_eq!(with(0.001), (Verdict::Fail, 0.05, 0.05, Some(0.001)));
        assert_eq!(with(0.2), (Verdict::Pass, 0.2, 0.05, Some(0.2)));
    }

    #[test]
    fn more_metrics_make_each_alarm_harder() {
        let plan = LookSchedule::default();
        let low = |others: usize| {
            let mut figures = vec![figure("ttft", 1.1, 12)];
            figures.extend((0..others).map(|_| figure("e2e", 1.0, 12)));
            judge(&figures, 2, &plan).unwrap().findings[0].low
        };
        assert!(low(0) > low(1) && low(1) > low(5));
    }

    #[test]
    fn a_judgement_survives_json() {
        let judgement = judge(&[figure("ttft", 1.3, 6)], 1, &LookSchedule::default()).unwrap();
        let json = serde_json::to_string(&judgement).unwrap();
        assert!(json.contains(r#""verdict":"FAIL""#), "{json}");
        let back: Judgement = serde_json::from_str(&json).unwrap();
        assert_eq!((back.verdict, back.findings.len()), (Verdict::Fail, 1));
    }

    #[test]
    fn what_cannot_be_judged_is_said() {
        let plan = LookSchedule::default();
        let few = judge(&[figure("ttft", 1.0, 6)], 2, &plan);
        assert_eq!(few, Err(Error::TooFewBlocks { needed: 12, given: 6 }));
        assert_eq!(judge(&[], 1, &plan), Err(Error::NoFigures));
        for look in [0, 4] {
            let error = judge(&[figure("ttft", 1.0, 20)], look, &plan);
            assert_eq!(error, Err(Error::Look { planned: 3, given: look }));
        }
        let odd = Figure { delta: f64::NAN, ..figure("ttft", 1.0, 6) };
        assert!(matches!(judge(&[odd], 1, &plan), Err(Error::Delta { .. })));
        let none = Figure { blocks: vec![Block::default(); 6], ..figure("ttft", 1.0, 6) };
        assert_eq!(judge(&[none], 1, &plan), Err(Error::NoRatio { block: 0 }));
    }
}
