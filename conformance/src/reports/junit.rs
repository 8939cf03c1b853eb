//! `junit.xml` for CI servers: one suite per area, one case per requirement.
//!
//! A CI server shows red for what makes the run red, and for nothing else. A MUST that failed and a stale known failure
//! are failures; the suite's own faults are errors. A SHOULD or MAY that failed is a passing case whose `system-out`
//! holds the warning, and an inconclusive check is a skipped case that says why; in a strict run both are failures.
//! Known and skipped ones are skipped cases that say why.

use std::{io, time::Duration};

use present::text::{cut, visible};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::{outcome::Outcome, run::Run};
use crate::{events::CheckResult, evidence::Direction};

/// Characters of a message, which CI servers show in a list, and of a reason.
const MESSAGE: usize = 500;
const REASON: usize = 8000;

pub(super) fn render(run: &Run) -> io::Result<String> {
    let mut report = Report::new("conformance");
    report.set_time(Duration::from_millis(run.duration_ms()));
    for (area, results) in run.areas() {
        let mut suite = TestSuite::new(visible(area));
        for (label, value) in run.facts() {
            suite.add_property(Property::new(label, visible(&value)));
        }
        suite.add_property(Property::new("started at", run.started_at()));
        let spent = results.iter().fold(0, |sum: u64, result| sum.saturating_add(result.duration_ms));
        suite.set_time(Duration::from_millis(spent));
        suite.add_test_cases(results.into_iter().map(|result| case(run, area, result)));
        report.add_test_suite(suite);
    }
    report.to_string().map_err(io::Error::other)
}

fn case(run: &Run, area: &str, result: &CheckResult) -> TestCase {
    let outcome = Outcome::of(result);
    let reason = cut(&visible(&result.reason), MESSAGE);
    let mut warning = None;
    let mut status = match outcome {
        Outcome::Warn | Outcome::Inconclusive if run.strict() => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Warn => {
            warning = Some(format!("warning: {}\n{}", outcome.said_of(result.level), details(result)));
            TestCaseStatus::success()
        }
        Outcome::Fail | Outcome::Stale => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Skip | Outcome::Inconclusive | Outcome::Known | Outcome::KnownInconclusive => {
            TestCaseStatus::skipped()
        }
    };
    match outcome {
        Outcome::Warn | Outcome::Inconclusive if run.strict() => {
            let message = format!("{}, and the run is strict: {reason}", outcome.said_of(result.level));
            status.set_message(message).set_type(outcome.name()).set_description(details(result));
        }
        Outcome::Pass | Outcome::Warn => {}
        Outcome::Fail | Outcome::Error => {
            status.set_message(reason).set_type(outcome.name()).set_description(details(result));
        }
        Outcome::Stale => {
            status.set_message(outcome.said_of(result.level)).set_type(outcome.name());
        }
        Outcome::Skip => {
            status.set_message(reason);
        }
        Outcome::Inconclusive | Outcome::Known | Outcome::KnownInconclusive => {
            let word = match outcome {
                Outcome::Known => "known failure",
                Outcome::KnownInconclusive => "known inconclusive",
                _ => "inconclusive",
            };
            status.set_message(format!("{word}: {reason}")).set_description(details(result));
        }
    }
    let name = format!("{} {}", visible(&result.id), visible(&result.title));
    let mut case = TestCase::new(name, status);
    case.set_classname(visible(area));
    case.set_time(Duration::from_millis(result.duration_ms));
    case.set_assertions(result.exercised as usize);
    if let Some(warning) = warning {
        case.set_system_out(warning);
    }
    case
}

/// Level, sentence, evidence and the way to run it again, as text.
fn details(result: &CheckResult) -> String {
    let mut lines = vec![
        format!("{} {}", result.level, visible(&result.requirement)),
        format!("seen: {}", cut(&visible(&result.reason), REASON)),
    ];
    if !result.known_because.is_empty() {
        lines.push(format!("known: {}", visible(&result.known_because)));
    }
    if result.evidence_omitted > 0 {
        lines.push(format!("{} exchanges in the middle are left out", result.evidence_omitted));
    }
    lines.extend(result.evidence.iter().map(|exchange| {
        let arrow = match exchange.direction {
            Direction::Sent => "->",
            Direction::Received => "<-",
        };
        format!("{:>10.1} ms  call {}  {arrow} {}", exchange.at_ms, exchange.call, visible(&exchange.what))
    }));
    lines.push(format!("run again: {}", visible(&result.rerun)));
    lines.join("\n")
}
