//! Whether the candidate is slower than the baseline.
//!
//! The unit of evidence is a block: both sides, one after the other in an order drawn for the block, under the same prompts
//! and the same arrivals. What the machine does slowly it does to both, and their ratio loses it. The mathematics
//! is the `statistics` crate's; here is what makes a comparison valid at all.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};
use statistics::{Block, Figure, Finding, Judgement, Plan, Side, Verdict};

use super::{
    metrics::{LEAST_FOR_P99, Metric, milliseconds, quantile},
    record::{Recording, RequestRecord},
    report,
};

/// A quantile of a metric, and how much slower is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The metric.
    pub metric: Metric,
    /// As 0.5.
    pub quantile: f64,
    /// As 0.05: a ratio of 1.05 is not yet too slow.
    pub delta: f64,
}

/// Medians of what people wait for, which may be slower by `delta`; and the tail of the first token, once there is one.
pub fn goals(delta: f64, tail_delta: f64) -> [Goal; 4] {
    let median = |metric| Goal { metric, quantile: 0.5, delta };
    let tail = Goal { metric: Metric::Ttft, quantile: 0.99, delta: tail_delta };
    [median(Metric::Ttft), median(Metric::Tpot), median(Metric::E2e), tail]
}

/// One block: what both sides did.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The baseline's.
    pub baseline: Recording,
    /// The candidate's.
    pub candidate: Recording,
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
    /// `ai-inference-bench/comparison/1`.
    pub schema: String,
    /// The whole.
    pub conclusion: Conclusion,
    /// Why it is invalid; empty for a valid one.
    pub invalid: Vec<String>,
    /// What the baseline was.
    pub baseline: String,
    /// What the candidate was.
    pub candidate: String,
    /// Blocks measured.
    pub blocks: usize,
    /// Per goal: medians over the blocks, in milliseconds, and the finding.
    pub rows: Vec<Row>,
}

/// One goal's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The baseline's value over all blocks, in milliseconds.
    pub baseline_ms: f64,
    /// The candidate's.
    pub candidate_ms: f64,
    /// The ratio, its limits, and the verdict.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Judges the blocks measured so far; `None` between two looks of the plan.
pub fn judge(
    pairs: &[Pair],
    goals: &[Goal],
    plan: &Plan,
    texts_may_differ: bool,
) -> Result<Option<(Comparison, Option<usize>)>, statistics::Error> {
    let Some(look) = plan.looks.iter().position(|blocks| *blocks == pairs.len()) else { return Ok(None) };
    let goals: Vec<_> = goals.iter().filter(|goal| can_be_seen(goal, pairs)).collect();
    let figures: Vec<_> = goals.iter().map(|goal| figure(goal, pairs)).collect();
    let invalid = faults(pairs, texts_may_differ);
    let blank = |conclusion, rows| Comparison {
        schema: "ai-inference-bench/comparison/1".to_owned(),
        conclusion,
        invalid: invalid.clone(),
        baseline: pairs[0].baseline.setup.target.clone(),
        candidate: pairs[0].candidate.setup.target.clone(),
        blocks: pairs.len(),
        rows,
    };
    if !invalid.is_empty() {
        return Ok(Some((blank(Conclusion::Invalid, Vec::new()), None)));
    }
    let Judgement { verdict, next, findings, .. } = statistics::judge(&figures, look + 1, plan)?;
    let row = |(goal, finding): (&&Goal, Finding)| Row {
        baseline_ms: pooled(pairs.iter().map(|pair| &pair.baseline), goal),
        candidate_ms: pooled(pairs.iter().map(|pair| &pair.candidate), goal),
        finding,
    };
    let rows = goals.iter().zip(findings).map(row).collect();
    let conclusion = match verdict {
        Verdict::Pass => Conclusion::Pass,
        Verdict::Fail => Conclusion::Fail,
        Verdict::Inconclusive => Conclusion::Inconclusive,
    };
    Ok(Some((blank(conclusion, rows), next)))
}

/// A tail needs requests: enough of them in all blocks together, and some in each.
fn can_be_seen(goal: &Goal, pairs: &[Pair]) -> bool {
    let counts = |recording: &Recording| goal.metric.values(&recording.requests).len() as u64;
    let sides = pairs.iter().flat_map(|pair| [&pair.baseline, &pair.candidate]);
    let least = if goal.quantile > 0.95 { LEAST_FOR_P99 / 3 } else { 1 };
    sides.map(counts).min().is_some_and(|fewest| fewest >= least)
}

fn figure(goal: &Goal, pairs: &[Pair]) -> Figure {
    let side = |recording: &Recording| {
        let complete = recording.requests.iter().filter(|request| request.is_complete());
        // A hundred nanoseconds never matter, and a ratio needs something to divide by.
        let values =
            complete.map(|request| goal.metric.of(request).into_iter().map(|v| v.max(100)).collect());
        Side(values.filter(|values: &Vec<u64>| !values.is_empty()).collect())
    };
    let block = |pair: &Pair| Block { baseline: side(&pair.baseline), candidate: side(&pair.candidate) };
    Figure {
        metric: goal.metric.name().to_owned(),
        quantile: goal.quantile,
        delta: goal.delta,
        floor: None,
        blocks: pairs.iter().map(block).collect(),
    }
}

fn pooled<'a>(recordings: impl Iterator<Item = &'a Recording>, goal: &Goal) -> f64 {
    let values = recordings.flat_map(|recording| goal.metric.values(&recording.requests)).collect();
    quantile(values, goal.quantile).map_or(0.0, |nanos| milliseconds(nanos as u64))
}

/// Why the blocks must not be compared: a run that is no measurement, or two sides that do not do the same work.
fn faults(pairs: &[Pair], texts_may_differ: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        for (side, recording) in [("baseline", &pair.baseline), ("candidate", &pair.candidate)] {
            let invalid = report::faults(&recording.requests);
            faults.extend(invalid.iter().map(|why| format!("block {}, {side}: {why}", number + 1)));
        }
    }
    let (baseline, candidate) = (texts(pairs, |pair| &pair.baseline), texts(pairs, |pair| &pair.candidate));
    let both: Vec<_> = baseline.iter().filter_map(|(prompt, a)| Some((a, candidate.get(prompt)?))).collect();
    let other_text = both.iter().filter(|(a, b)| a.0 != b.0).count();
    let other_length = both.iter().filter(|(a, b)| a.1 != b.1).count();
    if other_length > 0 && other_text == 0 {
        faults.push(format!("{other_length} of {} answers came in another number of chunks", both.len()));
    }
    if other_text > 0 && !texts_may_differ {
        faults.push(format!(
            "{other_text} of {} prompts were answered with another text, though all are greedy: the sides do not do the \
             same work (--texts-may-differ if that is meant)",
            both.len()
        ));
    }
    faults
}

/// What one side said to each prompt, and in how many chunks, the first time.
fn texts(pairs: &[Pair], side: impl Fn(&Pair) -> &Recording) -> BTreeMap<u32, (u64, usize)> {
    let mut texts = BTreeMap::new();
    let complete = |request: &&RequestRecord| request.is_complete();
    for request in pairs.iter().flat_map(|pair| &side(pair).requests).filter(complete) {
        texts.entry(request.prompt).or_insert((request.text, request.chunks.len()));
    }
    texts
}

impl Comparison {
    /// A table for terminals, and as Markdown for a pull request.
    pub fn table(&self) -> String {
        let mut text = format!(
            "baseline:  {}\ncandidate: {}\n\n| | baseline | candidate | ratio | interval | may be | verdict |\n\
             |---|---|---|---|---|---|---|\n",
            self.baseline, self.candidate
        );
        for Row { baseline_ms, candidate_ms, finding } in &self.rows {
            let _ = writeln!(
                text,
                "| {} p{} | {baseline_ms:.2} ms | {candidate_ms:.2} ms | {:.3} | {:.3} to {:.3} | {:.2} | {} |",
                finding.metric,
                finding.quantile * 100.0,
                finding.centre,
                finding.low,
                finding.high,
                1.0 + finding.delta,
                match finding.verdict {
                    Verdict::Pass => "PASS",
                    Verdict::Fail => "FAIL",
                    Verdict::Inconclusive => "inconclusive",
                }
            );
        }
        let blocks = self.blocks;
        let _ = match self.conclusion {
            Conclusion::Pass => writeln!(text, "\nPASS: no slower than it may be, after {blocks} blocks"),
            Conclusion::Fail => writeln!(text, "\nFAIL: the candidate is slower, after {blocks} blocks"),
            Conclusion::Inconclusive => {
                let least = self.rows.iter().map(|row| row.finding.detectable).fold(0.0, f64::max);
                writeln!(
                    text,
                    "\nINCONCLUSIVE after {blocks} blocks: on this machine, so noisy, {:.0} % would have been seen. Longer \
                     blocks (--length), more of them (--looks) or a quieter machine say more",
                    least * 100.0
                )
            }
            Conclusion::Invalid => writeln!(text, "INVALID: {}", self.invalid.join("\nINVALID: ")),
        };
        text
    }
}
