//! `ctrf.json`: the run in the Common Test Report Format (ctrf.io), which many dashboards read. Pure.
//!
//! The format knows passed, failed, skipped, pending and other. What makes the run red is failed; a warning, an
//! inconclusive and a known result are other; `rawStatus` holds this suite's own word.

use std::io;

use present::text::{self, cut, visible};
use serde::Serialize;

use super::{junit, language::Language, outcome::Outcome, run::Run};
use crate::events::CheckResult;

pub(super) fn render(run: &Run) -> io::Result<String> {
    let json = serde_json::to_string_pretty(&Document::of(run))?;
    Ok(text::hidden_as_json_escapes(&json) + "\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    report_format: &'static str,
    spec_version: &'static str,
    generated_by: String,
    results: Results,
}

#[derive(Serialize)]
struct Results {
    tool: Tool,
    summary: Counts,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: String,
}

#[derive(Serialize)]
struct Counts {
    tests: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    pending: usize,
    other: usize,
    suites: usize,
    start: u64,
    stop: u64,
    duration: u64,
    extra: Conclusion,
}

#[derive(Serialize)]
struct Conclusion {
    standing: &'static str,
    conclusion: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    name: String,
    status: Status,
    duration: u64,
    start: u64,
    stop: u64,
    suite: [String; 1],
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    trace: String,
    raw_status: &'static str,
    tags: [String; 2],
    retries: u32,
    flaky: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Passed,
    Failed,
    Skipped,
    Other,
}

impl Document {
    fn of(run: &Run) -> Self {
        let version = run.started.as_ref().map(|started| visible(&started.version)).unwrap_or_default();
        let start = run.started.as_ref().map(|started| started.started_at_ms).unwrap_or_default();
        let tests: Vec<Test> = run.results.iter().map(|result| Test::of(run, result)).collect();
        let count = |status| tests.iter().filter(|test| test.status == status).count();
        let conclusion = run.conclusion_in(Language::English);
        let summary = Counts {
            tests: tests.len(),
            passed: count(Status::Passed),
            failed: count(Status::Failed),
            skipped: count(Status::Skipped),
            pending: 0,
            other: count(Status::Other),
            suites: run.areas().len(),
            start,
            stop: start.saturating_add(run.duration_ms()),
            duration: run.duration_ms(),
            extra: Conclusion {
                standing: conclusion.standing.name(),
                conclusion: visible(&conclusion.sentence),
            },
        };
        Self {
            report_format: "CTRF",
            spec_version: "1.0.0",
            generated_by: format!("conformance {version}").trim().to_owned(),
            results: Results { tool: Tool { name: "conformance", version }, summary, tests },
        }
    }
}

impl Test {
    fn of(run: &Run, result: &CheckResult) -> Self {
        let outcome = Outcome::of(result);
        let status = match outcome {
            _ if run.is_red(result) => Status::Failed,
            Outcome::Pass => Status::Passed,
            Outcome::Skip => Status::Skipped,
            _ => Status::Other,
        };
        let told = !matches!(outcome, Outcome::Pass | Outcome::Skip);
        Self {
            name: format!("{} {}", visible(&result.id), visible(&result.title)),
            status,
            duration: result.duration_ms,
            start: result.started_at_ms,
            stop: result.started_at_ms.saturating_add(result.duration_ms),
            suite: [visible(result.id.split_once('-').map_or(&result.id, |(area, _)| area))],
            message: cut(&visible(&result.reason), MESSAGE),
            trace: if told { junit::details(result) } else { String::new() },
            raw_status: outcome.name(),
            tags: [result.level.to_string(), result.role.to_string()],
            retries: result.attempts.saturating_sub(1),
            flaky: status == Status::Passed && result.attempts > 1,
        }
    }
}

/// Characters of a message, which dashboards show in a list.
const MESSAGE: usize = 500;
