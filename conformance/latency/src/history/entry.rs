//! A result as a line of a history: what was measured, when, under which conditions, and its figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    compare::{Comparison, Conclusion},
    conditions::Conditions,
    metrics::Metric,
    record::Setup,
    report::Report,
};

/// One result. `schema` names this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Always `ai-inference-bench/history/1`.
    pub schema: String,
    /// What was measured: a commit's id, for example.
    pub label: String,
    /// When; RFC 3339.
    pub time: String,
    /// The command that made the result.
    pub kind: Kind,
    /// The target, as its report names it.
    pub target: String,
    /// The host, in the words of [`crate::host::Fingerprint`].
    pub host: String,
    /// What else must be equal.
    pub conditions: Conditions,
    /// Milliseconds by formula id and quantile, as `ttft/1 p50`.
    pub values: BTreeMap<String, f64>,
}

/// The command that made a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A report of `bench run`.
    Run,
    /// The candidate of `bench compare`: over all its blocks.
    Comparison,
}

/// A report that has no place in a history.
#[derive(Debug, thiserror::Error)]
pub enum NoEntry {
    /// The file is no report.
    #[error("neither report.json of `bench run` nor comparison.json of `bench compare`: {0}")]
    Form(#[from] serde_json::Error),
    /// The report says that its figures are invalid.
    #[error("its figures are invalid: {0}")]
    Invalid(String),
}

impl Entry {
    /// Reads a result from `report.json` or `comparison.json`.
    pub fn of(json: &str, label: &str) -> Result<Self, NoEntry> {
        #[derive(Deserialize)]
        struct Form {
            schema: String,
        }
        let Form { schema } = serde_json::from_str(json)?;
        if schema.starts_with("ai-inference-bench/comparison/") {
            Self::of_comparison(serde_json::from_str(json)?, label)
        } else {
            Self::of_run(serde_json::from_str(json)?, label)
        }
    }

    fn of_run(report: Report, label: &str) -> Result<Self, NoEntry> {
        if !report.invalid.is_empty() {
            return Err(NoEntry::Invalid(report.invalid.join("; ")));
        }
        let values = servers().filter_map(|metric| Some((metric, report.metric(metric)?)));
        let values = values.flat_map(|(metric, distribution)| {
            [(0.5, Some(distribution.p50)), (0.99, distribution.p99)]
                .into_iter()
                .filter_map(move |(quantile, value)| Some((name(metric, quantile), value?)))
        });
        Ok(Self::new(Kind::Run, values.collect(), report.setup, label))
    }

    fn of_comparison(comparison: Comparison, label: &str) -> Result<Self, NoEntry> {
        if comparison.conclusion == Conclusion::Invalid {
            return Err(NoEntry::Invalid(comparison.invalid.join("; ")));
        }
        let values = comparison.rows.iter().filter_map(|row| {
            let metric = servers().find(|metric| metric.name() == row.finding.metric)?;
            Some((name(metric, row.finding.quantile), row.candidate_ms))
        });
        Ok(Self::new(Kind::Comparison, values.collect(), comparison.setup, label))
    }

    fn new(kind: Kind, values: BTreeMap<String, f64>, setup: Setup, label: &str) -> Self {
        let conditions = Conditions::of(&setup);
        let label = if label.is_empty() { setup.started.clone() } else { label.to_owned() };
        let (time, host, target) = (setup.started, setup.host, setup.target);
        Self { schema: SCHEMA.to_owned(), label, time, kind, target, host, conditions, values }
    }
}

/// The entries of a history, and its lines that are none, by number from 1.
pub fn parse(text: &str) -> (Vec<Entry>, Vec<(usize, String)>) {
    let (mut entries, mut damaged) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Entry>(line) {
            Ok(entry) if entry.schema == SCHEMA => entries.push(entry),
            Ok(entry) => damaged.push((number + 1, format!("its schema is {:?}", entry.schema))),
            Err(error) => damaged.push((number + 1, error.to_string())),
        }
    }
    (entries, damaged)
}

/// What a server can be slower in; how late the client was is its machine's business.
pub(super) fn servers() -> impl Iterator<Item = Metric> {
    Metric::ALL.into_iter().filter(|metric| *metric != Metric::Lag)
}

fn name(metric: Metric, quantile: f64) -> String {
    format!("{} p{}", metric.formula_id(), quantile * 100.0)
}

const SCHEMA: &str = "ai-inference-bench/history/1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Outcome, RequestRecord},
        report::Objectives,
    };

    fn report(outcome: &Outcome) -> Report {
        let request = |number: u64| RequestRecord {
            prompt: 0,
            planned: number,
            sent: number,
            waited: 0,
            chunks: vec![number + 2_000_000, number + 5_000_000],
            ended: number + 5_000_000,
            outcome: outcome.clone(),
            text: 0,
            server_ttft_ms: None,
            server_tokens_per_second: None,
            freed: None,
            message: None,
        };
        let setup =
            Setup { host: "a".into(), started: "then".into(), load: "closed:1".into(), ..Setup::default() };
        Report::new(setup, &(0..300).map(request).collect::<Vec<_>>(), Objectives::default())
    }

    #[test]
    fn a_run_becomes_a_line_and_a_line_an_entry() {
        let json = serde_json::to_string(&report(&Outcome::Complete)).unwrap();
        let entry = Entry::of(&json, "abc").unwrap();
        assert_eq!((entry.label.as_str(), entry.kind, entry.host.as_str()), ("abc", Kind::Run, "a"));
        assert!((entry.values["ttft/1 p50"] - 2.0).abs() < 0.01, "{entry:?}");
        assert!(entry.values.contains_key("ttft/1 p99") && !entry.values.contains_key("client_lag/1 p50"));
        assert_eq!(Entry::of(&json, "").unwrap().label, "then");
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(parse(&format!("{line}\n\n{line}\n")), (vec![entry.clone(), entry], vec![]));
    }

    #[test]
    fn a_result_that_says_nothing_is_refused() {
        let json = serde_json::to_string(&report(&Outcome::Late)).unwrap();
        assert!(matches!(Entry::of(&json, "abc"), Err(NoEntry::Invalid(why)) if why.contains("no request")));
        for json in ["", "{}", r#"{"schema":"ai-inference-bench/comparison/1"}"#] {
            assert!(matches!(Entry::of(json, "abc"), Err(NoEntry::Form(_))), "{json}");
        }
    }

    #[test]
    fn a_damaged_line_is_named_and_takes_no_other_with_it() {
        let entry = Entry::of(&serde_json::to_string(&report(&Outcome::Complete)).unwrap(), "abc").unwrap();
        let line = serde_json::to_string(&entry).unwrap();
        let later = line.replace("history/1", "history/9");
        let (entries, damaged) = parse(&format!("{line}\n{}\n{later}\n{line}\n", &line[..40]));
        assert_eq!(entries.len(), 2);
        assert_eq!(damaged.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
    }
}
