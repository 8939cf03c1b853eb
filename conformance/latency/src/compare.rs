//! Whether the candidate is slower than the baseline.
//!
//! The unit of evidence is a block: both sides, one after the other in an order drawn for the block, under the same prompts
//! and the same arrivals. What the machine does slowly it does to both, and their ratio loses it. The mathematics
//! is the `statistics` crate's, and what makes a comparison valid at all is in `faults`.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use statistics::{Block, Figure, Finding, Judgement, LookSchedule, Samples, Verdict};

use super::{
    columns::Columns,
    faults::{faults, merged},
    lag::Lag,
    metrics::{LEAST_FOR_P99, Metric, milliseconds, quantile},
    record::{Recording, Setup},
};

/// A quantile of a metric, and how much slower is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The metric that is judged.
    pub metric: Metric,
    /// The quantile that is judged, such as 0.5.
    pub quantile: f64,
    /// As 0.05: a ratio of 1.05 is not yet too slow.
    pub delta: f64,
    /// The largest difference that is only noise on this host, where that is known; raises `delta` to itself.
    pub floor: Option<f64>,
}

/// Medians of what people wait for, which may be slower by `delta`; and the tail of the first token, once there is one.
pub fn goals(delta: f64, tail_delta: f64) -> [Goal; 4] {
    let median = |metric| Goal { metric, quantile: 0.5, delta, floor: None };
    let tail = Goal { metric: Metric::Ttft, quantile: 0.99, delta: tail_delta, floor: None };
    [median(Metric::Ttft), median(Metric::Tpot), median(Metric::E2e), tail]
}

/// One block: what both sides did.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The recording of the baseline.
    pub baseline: Recording,
    /// The recording of the candidate.
    pub candidate: Recording,
}

impl Pair {
    /// Candidate / baseline, at the median; nothing where either has no such figure.
    pub fn ratio(&self, metric: Metric) -> Option<f64> {
        let median = |recording: &Recording| {
            quantile(metric.values(&recording.requests), 0.5).filter(|value| *value > 0.0)
        };
        Some(median(&self.candidate)? / median(&self.baseline)?)
    }
}

/// The end of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Conclusion {
    /// No goal is missed, and enough was seen to say so.
    Pass,
    /// The candidate is slower.
    Fail,
    /// Not enough was seen to say either.
    Inconclusive,
    /// What was seen must not be compared.
    Invalid,
}

/// What was found. `schema` names this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Always `ai-inference-bench/comparison/2`.
    pub schema: String,
    /// The conclusion over all rows.
    pub conclusion: Conclusion,
    /// Why it is invalid; empty for a valid one.
    pub invalid: Vec<String>,
    /// The baseline, as reports name it.
    pub baseline: String,
    /// The candidate, as reports name it.
    pub candidate: String,
    /// The setup of the candidate's first block.
    #[serde(default)]
    pub setup: Setup,
    /// Number of blocks measured.
    pub blocks: usize,
    /// Per goal: medians over the blocks, in milliseconds, and the finding.
    pub rows: Vec<Row>,
    /// What a reader must know besides, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why the rows are shown and not judged, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// One goal's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The baseline's value over all blocks, in milliseconds.
    pub baseline_ms: f64,
    /// The candidate's value in milliseconds.
    pub candidate_ms: f64,
    /// The ratio, its limits, and the verdict.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Judges the blocks measured so far; `None` between two looks of the plan, as long as they may be compared at all.
pub fn judge(
    pairs: &[Pair],
    goals: &[Goal],
    plan: &LookSchedule,
    texts_may_differ: bool,
) -> Result<Option<(Comparison, Option<usize>)>, statistics::Error> {
    let comparison = Comparison::unjudged(pairs, texts_may_differ);
    if comparison.conclusion == Conclusion::Invalid {
        return Ok(Some((comparison, None)));
    }
    let Some(look) = plan.looks.iter().position(|blocks| *blocks == pairs.len()) else { return Ok(None) };
    let goals: Vec<_> = goals.iter().filter(|goal| can_be_seen(goal, pairs)).collect();
    let figures: Vec<_> = goals.iter().map(|goal| figure(goal, pairs)).collect();
    let Judgement { verdict, next, findings, .. } = statistics::judge(&figures, look + 1, plan)?;
    let row = |(goal, finding): (&&Goal, Finding)| Row {
        baseline_ms: pooled(pairs.iter().map(|pair| &pair.baseline), goal),
        candidate_ms: pooled(pairs.iter().map(|pair| &pair.candidate), goal),
        finding,
    };
    let rows: Vec<_> = goals.iter().zip(findings).map(row).collect();
    let contradictions: Vec<_> = rows.iter().filter_map(contradiction).collect();
    let conclusion = match verdict {
        Verdict::Pass => Conclusion::Pass,
        Verdict::Fail => Conclusion::Fail,
        Verdict::Inconclusive => Conclusion::Inconclusive,
    };
    let notes = [comparison.notes, contradictions].concat();
    Ok(Some((Comparison { conclusion, rows, notes, ..comparison }, next)))
}

/// The client's own lag towards each side, over all blocks.
fn lags(pairs: &[Pair]) -> [(&'static str, Lag); 2] {
    let of = |side: fn(&Pair) -> &Recording| Lag::of(pairs.iter().flat_map(|pair| &side(pair).requests));
    [("baseline", of(|pair| &pair.baseline)), ("candidate", of(|pair| &pair.candidate))]
}

/// A tail needs a hundred requests in each block, and a client that was not late. Gaps between chunks need chunks that hold
/// as many tokens.
pub(super) fn can_be_seen(goal: &Goal, pairs: &[Pair]) -> bool {
    let counts = |recording: &Recording| goal.metric.values(&recording.requests).len() as u64;
    let sides = pairs.iter().flat_map(|pair| [&pair.baseline, &pair.candidate]);
    let is_tail = goal.quantile > 0.95;
    let least = if is_tail { LEAST_FOR_P99 } else { 1 };
    let enough = sides.map(counts).min().is_some_and(|fewest| fewest >= least);
    let is_gap = matches!(goal.metric, Metric::Tpot | Metric::Itl);
    enough
        && (!is_gap || merged(pairs).0 == 0)
        && (!is_tail || lags(pairs).iter().all(|(_, lag)| lag.leaves_the_tail()))
}

pub(super) fn figure(goal: &Goal, pairs: &[Pair]) -> Figure {
    let side = |recording: &Recording| {
        let complete = recording.requests.iter().filter(|request| request.is_complete());
        // A hundred nanoseconds never matter, and a ratio needs something to divide by.
        let values =
            complete.map(|request| goal.metric.of(request).into_iter().map(|v| v.max(100)).collect());
        Samples(values.filter(|values: &Vec<u64>| !values.is_empty()).collect())
    };
    let block = |pair: &Pair| Block { baseline: side(&pair.baseline), candidate: side(&pair.candidate) };
    Figure {
        metric: goal.metric.name().to_owned(),
        quantile: goal.quantile,
        delta: goal.delta,
        floor: goal.floor,
        blocks: pairs.iter().map(block).collect(),
    }
}

pub(super) fn pooled<'a>(recordings: impl Iterator<Item = &'a Recording>, goal: &Goal) -> f64 {
    let values = recordings.flat_map(|recording| goal.metric.values(&recording.requests)).collect();
    quantile(values, goal.quantile).map_or(0.0, |nanos| milliseconds(nanos as u64))
}

impl Comparison {
    /// Without rows: invalid, or inconclusive until it is judged.
    pub fn unjudged(pairs: &[Pair], texts_may_differ: bool) -> Self {
        let merges = match merged(pairs) {
            (0, _) => None,
            (some, all) => Some(format!(
                "tpot is not compared: {some} of {all} texts came in different numbers of chunks, so that a chunk is not one \
                 token. ttft and e2e are compared."
            )),
        };
        let lagged = lags(pairs).into_iter().filter_map(|(side, lag)| Some((side, lag.warning()?)));
        let lagged = lagged.map(|(side, warning)| format!("Warning, {side}: {warning}."));
        let invalid = faults(pairs, texts_may_differ);
        let setup = |side: fn(&Pair) -> &Recording| {
            pairs.first().map(|pair| side(pair).setup.clone()).unwrap_or_default()
        };
        let (baseline, candidate) = (setup(|pair| &pair.baseline), setup(|pair| &pair.candidate));
        let differs = (baseline.model != candidate.model).then(|| {
            let (baseline, candidate) = (baseline.shown_model(), candidate.shown_model());
            format!("The baseline's model is {baseline}, the candidate's {candidate}.")
        });
        Self {
            schema: "ai-inference-bench/comparison/2".to_owned(),
            conclusion: if invalid.is_empty() { Conclusion::Inconclusive } else { Conclusion::Invalid },
            invalid,
            baseline: baseline.target,
            candidate: candidate.target.clone(),
            setup: candidate,
            blocks: pairs.len(),
            rows: Vec::new(),
            notes: differs.into_iter().chain(merges).chain(lagged).collect(),
            withheld: None,
        }
    }

    /// Notes what must not be lost in a verdict that is no FAIL: what is slower for certain.
    pub fn note_what_is_longer(&mut self) {
        if self.withheld.is_none() {
            self.notes.extend(self.rows.iter().filter_map(longer_all_the_same));
        }
    }

    /// The comparison as a table for terminals.
    pub fn table(&self) -> String {
        self.written(false)
    }

    /// The comparison as Markdown, for a pull request.
    pub fn markdown(&self) -> String {
        self.written(true)
    }

    fn written(&self, markdown: bool) -> String {
        let mut text = format!("baseline:  {}\ncandidate: {}\n\n", self.baseline, self.candidate);
        if !self.rows.is_empty() {
            text += &self.columns().written(markdown);
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        let blocks = self.blocks;
        if let (Conclusion::Inconclusive, Some(why)) = (self.conclusion, &self.withheld) {
            let _ = writeln!(text, "\nINCONCLUSIVE, shown and not judged: {why}");
            return text;
        }
        let _ = match self.conclusion {
            Conclusion::Pass => {
                writeln!(
                    text,
                    "\nPASS: the candidate is not slower than the limits allow, after {blocks} blocks"
                )
            }
            Conclusion::Fail => {
                writeln!(text, "\nFAIL: the candidate is slower than the limits allow, after {blocks} blocks")
            }
            Conclusion::Inconclusive => {
                let open = self.rows.iter().filter(|row| row.finding.verdict == Verdict::Inconclusive);
                let least = open.map(|row| row.finding.detectable).fold(0.0, f64::max);
                writeln!(
                    text,
                    "\nINCONCLUSIVE after {blocks} blocks: with the noise of this machine, only a slowdown of {:.0} % or more \
                     would have been found. Use longer blocks (--length), more blocks (--looks) or a quieter machine",
                    least * 100.0
                )
            }
            Conclusion::Invalid => writeln!(text, "INVALID: {}", self.invalid.join("\nINVALID: ")),
        };
        text
    }
}

impl Comparison {
    fn columns(&self) -> Columns {
        let mut columns = Columns::new(&HEAD);
        for Row { baseline_ms, candidate_ms, finding } in &self.rows {
            columns.row(vec![
                format!("{} p{}", finding.metric, finding.quantile * 100.0),
                format!("{baseline_ms:.2} ms"),
                format!("{candidate_ms:.2} ms"),
                format!("{:.3}", finding.centre),
                format!("{:.3} to {:.3}", finding.low, finding.high),
                allowed(finding),
                match finding.verdict {
                    Verdict::Pass => "PASS",
                    Verdict::Fail => "FAIL",
                    Verdict::Inconclusive => "inconclusive",
                }
                .to_owned(),
            ]);
        }
        columns
    }
}

/// Says which of two figures counts, where the times over all blocks contradict the ratio within the blocks.
fn contradiction(Row { baseline_ms, candidate_ms, finding }: &Row) -> Option<String> {
    let pooled = candidate_ms / baseline_ms;
    let contradicts = pooled.is_finite() && !(finding.low..=finding.high).contains(&pooled);
    contradicts.then(|| {
        let Finding { metric, quantile, centre, .. } = finding;
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        format!(
            "{metric} p{}: over all blocks together the candidate's time differs by {:+.1} %, within the blocks by {:+.1} %. \
             The second counts: what the machine did from block to block is in the times, and not in the ratios.",
            quantile * 100.0,
            percent(pooled),
            percent(*centre)
        )
    })
}

/// That a figure is longer, and by more than this host makes of nothing.
fn longer_all_the_same(Row { finding, .. }: &Row) -> Option<String> {
    let within = match finding.verdict {
        Verdict::Pass => "which is allowed",
        Verdict::Inconclusive => "and whether by more than is allowed is not clear",
        Verdict::Fail => return None,
    };
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    (finding.low > 1.0 && finding.centre > 1.0 + finding.floor.unwrap_or(0.0)).then(|| {
        let Finding { metric, quantile, centre, low, high, .. } = finding;
        let (centre, low, high) = (percent(*centre), percent(*low), percent(*high));
        format!(
            "{metric} p{} did become longer, by {centre:.1} % ({low:.1} to {high:.1}), {within}.",
            quantile * 100.0
        )
    })
}

/// How much slower the candidate may be, and what that follows from.
fn allowed(finding: &Finding) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0).replace(".0 %", " %");
    let floor = finding.floor.map(|floor| format!(", floor of this host {}", percent(floor)));
    format!("{}{}", percent(finding.requested), floor.unwrap_or_default())
}

const HEAD: [&str; 7] = ["", "baseline", "candidate", "ratio", "interval", "allowed", "verdict"];

#[cfg(test)]
mod tests {
    use super::*;

    fn row(candidate_ms: f64, centre: f64) -> Row {
        let (low, high) = (centre - 0.02, centre + 0.02);
        let finding = Finding {
            metric: "ttft".to_owned(),
            quantile: 0.5,
            centre,
            low,
            high,
            threshold: 0.04,
            requested: 0.04,
            floor: None,
            detectable: 0.03,
            verdict: Verdict::Pass,
            ratios: vec![centre],
        };
        Row { baseline_ms: 20.0, candidate_ms, finding }
    }

    #[test]
    fn times_that_contradict_the_ratio_are_explained() {
        assert_eq!(contradiction(&row(20.1, 1.0)), None);
        let said = contradiction(&row(22.0, 0.99)).unwrap();
        assert!(said.contains("differs by +10.0 %, within the blocks by -1.0 %"), "{said}");
    }

    #[test]
    fn a_terminal_gets_columns_and_only_a_page_markdown() {
        let rows = vec![row(20.1, 1.0)];
        let comparison =
            Comparison { rows, conclusion: Conclusion::Pass, ..Comparison::unjudged(&[], false) };
        assert!(
            !comparison.table().contains('|') && comparison.table().contains("PASS"),
            "{}",
            comparison.table()
        );
        assert!(comparison.markdown().contains("| ttft p50 | 20.00 ms |"), "{}", comparison.markdown());
    }
}
