//! `report.html` of `bench run`.

use std::io;

use present::{render, text::visible};
use serde::Serialize;

use super::{
    Fact, Figure, TEMPLATES,
    against_load::against_load,
    distribution,
    over_time::over_time,
    words::{self, counted, digits},
};
use crate::{
    metrics::{Distribution, LEAST_FOR_P99, LEAST_FOR_P999, Metric},
    plot::grouped,
    record::RequestRecord,
    report::Report,
};

#[derive(Serialize)]
struct Page {
    title: String,
    sentence: String,
    /// A class of the style sheet.
    standing: &'static str,
    under: String,
    invalid: Vec<String>,
    warnings: Vec<String>,
    facts: Vec<Fact>,
    rows: Vec<Row>,
    hidden_tails: Option<(u64, u64)>,
    figures: Vec<Figure>,
    version: &'static str,
}

/// One metric's figures.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    formula_id: &'static str,
    formula: &'static str,
    meaning: &'static str,
    figures: Vec<String>,
}

/// The page of a run: its figures, and the requests that they were made from.
pub fn run(report: &Report, requests: &[RequestRecord]) -> io::Result<String> {
    render(&TEMPLATES, "bench-run.html", Page::of(report, requests))
}

impl Page {
    fn of(report: &Report, requests: &[RequestRecord]) -> Self {
        let target = visible(&report.setup.target);
        let figures = vec![
            over_time(&report.setup.load, requests),
            distribution::of_run(requests),
            against_load(&report.setup.load, requests),
        ];
        let metrics = Metric::ALL.into_iter().filter_map(|metric| Some((metric, report.metric(metric)?)));
        let rows: Vec<_> = metrics.map(|(metric, distribution)| Row::of(metric, distribution)).collect();
        let hides = report.metrics.values().any(|distribution| distribution.p99.is_none());
        let valid = report.invalid.is_empty();
        Self {
            title: format!("latency of {target}"),
            sentence: sentence(report),
            standing: if valid { "plain" } else { "invalid" },
            under: under(report),
            invalid: report.invalid.iter().map(|why| visible(why)).collect(),
            warnings: report.warnings.iter().map(|why| visible(why)).collect(),
            facts: facts(report),
            rows,
            hidden_tails: hides.then_some((LEAST_FOR_P99, LEAST_FOR_P999)),
            figures,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Row {
    fn of(metric: Metric, d: &Distribution) -> Self {
        let tail = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), digits);
        let figures = vec![
            digits(d.min),
            digits(d.p50),
            digits(d.p90),
            digits(d.p95),
            tail(d.p99),
            tail(d.p999),
            digits(d.max),
        ];
        Self {
            name: metric.name(),
            formula_id: metric.formula_id(),
            formula: metric.formula(),
            meaning: words::meaning(metric),
            figures: figures.into_iter().chain([grouped(d.count as f64, 0)]).collect(),
        }
    }
}

fn sentence(report: &Report) -> String {
    let Some(ttft) = report.metric(Metric::Ttft) else {
        return "INVALID: no request was answered".to_owned();
    };
    let tail = ttft.p99.map_or_else(
        || format!("{} at the longest", words::milliseconds(ttft.max)),
        |p99| format!("{} at the 99th percentile", words::milliseconds(p99)),
    );
    let median = words::milliseconds(ttft.p50);
    if report.invalid.is_empty() {
        format!("The first token came after {median} at the median, {tail}")
    } else {
        "INVALID: these figures must not be used".to_owned()
    }
}

fn under(report: &Report) -> String {
    let outcomes = report
        .outcomes
        .iter()
        .map(|(word, count)| format!("{} {}", grouped(*count as f64, 0), visible(word)));
    let all = report.outcomes.values().sum::<u64>() as usize;
    format!(
        "{} in {}: {}",
        counted(all, "request"),
        words::seconds(report.seconds),
        outcomes.collect::<Vec<_>>().join(", ")
    )
}

fn facts(report: &Report) -> Vec<Fact> {
    let objectives = &report.objectives;
    let rate = |rate: f64| grouped(rate, 1);
    let mut facts = vec![("target", visible(&report.setup.target))];
    facts.extend(words::load(&report.setup));
    if report.has_rates() {
        facts.push((
            "throughput",
            format!(
                "{} requests and {} chunks a second",
                rate(report.requests_per_second),
                rate(report.chunks_per_second)
            ),
        ));
        facts.push((
            "goodput",
            format!(
                "{} requests a second met both objectives: first token within {}, later ones every {} on the average",
                rate(report.goodput),
                words::milliseconds(objectives.ttft_ms),
                words::milliseconds(objectives.tpot_ms)
            ),
        ));
    }
    facts.extend(report.tail_limits().map(|limits| ("confidence", limits)));
    if let Some(server) = report.server_ttft_ms {
        let said =
            format!("first token after {} at the median, by its own clock", words::milliseconds(server));
        facts.push(("endpoint says", said));
    }
    facts
}
