//! `comparison.html` of `bench compare`.

use std::io;

use present::{render, text::visible};
use serde::Serialize;
use statistics::{Finding, Verdict};

use super::{
    Fact, Figure, TEMPLATES,
    blocks::blocks,
    distribution,
    words::{self, change, counted, share, short, subject},
};
use crate::{
    compare::{Comparison, Conclusion, Pair},
    metrics::Metric,
    record::Recording,
};

#[derive(Serialize)]
struct Page {
    title: String,
    sentence: String,
    baseline: String,
    candidate: String,
    /// A class of the style sheet.
    standing: &'static str,
    under: String,
    invalid: Vec<String>,
    facts: Vec<Fact>,
    notes: Vec<String>,
    rows: Vec<Row>,
    blocks: Vec<Figure>,
    distributions: Vec<Figure>,
    version: &'static str,
}

/// One goal's figures.
#[derive(Serialize)]
struct Row {
    subject: String,
    short: String,
    baseline: String,
    candidate: String,
    change: String,
    allowed: String,
    detectable: String,
    verdict: &'static str,
    said: &'static str,
}

/// The page of a comparison: what was found, and the blocks that it was found in.
pub fn comparison(comparison: &Comparison, pairs: &[Pair]) -> io::Result<String> {
    render(&TEMPLATES, "bench-comparison.html", Page::of(comparison, pairs))
}

impl Page {
    fn of(comparison: &Comparison, pairs: &[Pair]) -> Self {
        let (baseline, candidate) = (visible(&comparison.baseline), visible(&comparison.candidate));
        let findings = comparison.rows.iter().map(|row| &row.finding);
        let pooled = |metric: Metric, side: fn(&Pair) -> &Recording| {
            metric.values(pairs.iter().flat_map(|pair| &side(pair).requests))
        };
        let distributions =
            [Metric::Ttft, Metric::Itl, Metric::Tpot, Metric::E2e].into_iter().filter_map(|metric| {
                let (baseline, candidate) =
                    (pooled(metric, |pair| &pair.baseline), pooled(metric, |pair| &pair.candidate));
                distribution::of_sides(metric, baseline, candidate)
            });
        Self {
            title: format!("{candidate} against {baseline}"),
            sentence: sentence(comparison),
            baseline,
            candidate,
            standing: standing(comparison.conclusion),
            under: under(comparison, pairs),
            invalid: comparison.invalid.iter().map(|why| visible(why)).collect(),
            facts: pairs.first().map(load).unwrap_or_default(),
            rows: comparison.rows.iter().map(Row::of).collect(),
            blocks: findings.map(blocks).collect(),
            notes: comparison.notes.iter().map(|note| visible(note)).collect(),
            distributions: distributions.collect(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What was asked of both.
fn load(Pair { baseline, candidate }: &Pair) -> Vec<Fact> {
    let [baseline, candidate] = [&baseline.setup, &candidate.setup];
    if baseline.model == candidate.model {
        return words::load(baseline);
    }
    let model = format!("{} against {}", candidate.shown_model(), baseline.shown_model());
    words::load_of(baseline, &model)
}

impl Row {
    fn of(row: &crate::compare::Row) -> Self {
        let finding = &row.finding;
        let (verdict, said) = words::verdict(finding.verdict);
        Self {
            subject: subject(finding),
            short: short(finding),
            baseline: words::milliseconds(row.baseline_ms),
            candidate: words::milliseconds(row.candidate_ms),
            change: change(finding),
            allowed: match finding.floor {
                Some(floor) if floor > finding.requested => {
                    format!(
                        "{} longer, as this host's noise; {} were asked for",
                        share(finding.threshold),
                        share(finding.requested)
                    )
                }
                _ => format!("{} longer", share(finding.threshold)),
            },
            detectable: share(finding.detectable),
            verdict,
            said,
        }
    }
}

/// The verdict, with the finding that decides it.
fn sentence(comparison: &Comparison) -> String {
    let findings = comparison.rows.iter().map(|row| &row.finding);
    // How far beyond what is allowed, or how near to it.
    let worst = |wanted: Verdict| {
        let excess = |finding: &Finding| finding.centre / (1.0 + finding.threshold);
        let of_kind = findings.clone().filter(|finding| finding.verdict == wanted);
        of_kind.max_by(|a, b| excess(a).total_cmp(&excess(b)))
    };
    let said = |finding: &Finding| {
        let (subject, change, allowed) = (subject(finding), change(finding), share(finding.threshold));
        format!("the candidate's {subject} is {change}; {allowed} were allowed")
    };
    if let (Conclusion::Inconclusive, Some(why)) = (comparison.conclusion, &comparison.withheld) {
        return format!("INCONCLUSIVE, shown and not judged: {}", visible(why));
    }
    match comparison.conclusion {
        Conclusion::Fail => worst(Verdict::Fail).map_or_else(
            || "FAIL: the candidate is slower than allowed".to_owned(),
            |finding| format!("FAIL: {}", said(finding)),
        ),
        Conclusion::Pass => worst(Verdict::Pass).map_or_else(
            || "PASS: the candidate is not slower than allowed".to_owned(),
            |finding| match comparison.rows.len() {
                1 => format!("PASS: {}", said(finding)),
                _ if findings.clone().all(|finding| finding.high < 1.0) => {
                    format!("PASS: the candidate is faster. Its {} is {}", subject(finding), change(finding))
                }
                _ => format!(
                    "PASS: the candidate is not slower than allowed. Nearest to the limit, {}",
                    said(finding)
                ),
            },
        ),
        Conclusion::Inconclusive => worst(Verdict::Inconclusive).map_or_else(
            || "INCONCLUSIVE: the blocks do not give a clear answer".to_owned(),
            |finding| format!("INCONCLUSIVE: {}, which lies within the limits", said(finding)),
        ),
        Conclusion::Invalid => "INVALID: these measurements must not be compared".to_owned(),
    }
}

const fn standing(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Pass => "pass",
        Conclusion::Fail => "fail",
        Conclusion::Inconclusive => "inconclusive",
        Conclusion::Invalid => "invalid",
    }
}

fn under(comparison: &Comparison, pairs: &[Pair]) -> String {
    let requests: usize =
        pairs.iter().map(|pair| pair.baseline.requests.len() + pair.candidate.requests.len()).sum();
    let failed = comparison.rows.iter().filter(|row| row.finding.verdict == Verdict::Fail).count();
    let advice = match comparison.conclusion {
        Conclusion::Inconclusive => {
            " Longer blocks (--length), more of them (--looks) or a quieter machine say more.".to_owned()
        }
        Conclusion::Fail => format!(" {failed} of {} fail.", counted(comparison.rows.len(), "figure")),
        Conclusion::Pass | Conclusion::Invalid => String::new(),
    };
    format!(
        "{} of both sides with the same prompts and arrivals; {} in all.{advice}",
        counted(comparison.blocks, "block"),
        counted(requests, "request")
    )
}
