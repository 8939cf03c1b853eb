//! `junit.xml` for CI servers: one suite per area, one case per requirement. Pure.
//!
//! A CI server shows red for what makes the run red, and for nothing else. A MUST that failed and a stale known failure
//! are failures; the suite's own faults are errors. A SHOULD or MAY that failed is a passing case whose `system-out`
//! holds the warning, and an inconclusive check is a skipped case that says why; in a strict run both are failures.
//! Known and skipped ones are skipped cases that say why.
//!
//! Only elements and attributes that both Jenkins' schema (junit-10.xsd of its xUnit plugin) and GitLab's description
//! know are written; that is why no library writes the file.

use std::io;

use present::text::{cut, visible};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

use super::{outcome::Outcome, run, run::Run};
use crate::{events::CheckResult, evidence::Direction};

pub(super) fn render(run: &Run) -> io::Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all: Vec<&CheckResult> = run.results.iter().collect();
    let mut root = BytesStart::new("testsuites");
    root.push_attribute(("name", "conformance"));
    counts(run, &all, &mut root);
    root.push_attribute(("time", seconds(run.duration_ms()).as_str()));
    xml.write_event(Event::Start(root))?;
    for (area, results) in run.areas() {
        suite(run, area, &results, &mut xml)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    String::from_utf8(xml.into_inner()).map(|text| text + "\n").map_err(io::Error::other)
}

fn suite(run: &Run, area: &str, results: &[&CheckResult], xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let area = visible(area);
    let began = results.iter().map(|result| result.started_at_ms).find(|began| *began > 0);
    let began = began.map_or_else(|| run.started_at(), run::rfc3339);
    let spent = results.iter().fold(0, |sum: u64, result| sum.saturating_add(result.duration_ms));
    let skipped = results.iter().filter(|result| kind(run, result) == Kind::Skipped).count();
    let mut suite = BytesStart::new("testsuite");
    suite.push_attribute(("name", area.as_str()));
    counts(run, results, &mut suite);
    suite.push_attribute(("skipped", skipped.to_string().as_str()));
    suite.push_attribute(("time", seconds(spent).as_str()));
    if !began.is_empty() {
        suite.push_attribute(("timestamp", began.as_str()));
    }
    xml.write_event(Event::Start(suite))?;
    xml.write_event(Event::Start(BytesStart::new("properties")))?;
    for (label, value) in run.facts() {
        let mut property = BytesStart::new("property");
        property.push_attribute(("name", label));
        property.push_attribute(("value", visible(&value).as_str()));
        xml.write_event(Event::Empty(property))?;
    }
    xml.write_event(Event::End(BytesEnd::new("properties")))?;
    for result in results {
        case(run, &area, result, xml)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))
}

fn case(run: &Run, area: &str, result: &CheckResult, xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let outcome = Outcome::of(result);
    let mut case = BytesStart::new("testcase");
    let name = format!("{} {}", visible(&result.id), visible(&result.title));
    case.push_attribute(("name", name.as_str()));
    case.push_attribute(("classname", area));
    case.push_attribute(("time", seconds(result.duration_ms).as_str()));
    let (said, kind) = (outcome.said_of(result.level), kind(run, result));
    let warning = outcome == Outcome::Warn && kind == Kind::Passed;
    if kind == Kind::Passed && !warning && result.attempts < 2 {
        return xml.write_event(Event::Empty(case));
    }
    xml.write_event(Event::Start(case))?;
    let reason = cut(&visible(&result.reason), MESSAGE);
    match kind {
        Kind::Passed => {}
        Kind::Failed | Kind::Broken => {
            let strictly = matches!(outcome, Outcome::Warn | Outcome::Inconclusive);
            let message = match outcome {
                Outcome::Stale => said,
                _ if strictly => format!("{said}, and the run is strict: {reason}"),
                _ => reason,
            };
            let element = if kind == Kind::Failed { "failure" } else { "error" };
            leaf(element, &[("type", outcome.name()), ("message", &message)], &details(result), xml)?;
        }
        Kind::Skipped => {
            let message = match outcome {
                Outcome::Skip => reason,
                _ => format!("{}: {reason}", outcome.counted(1).trim_start_matches("1 ")),
            };
            let details = if outcome == Outcome::Skip { String::new() } else { details(result) };
            leaf("skipped", &[("message", &message)], &details, xml)?;
        }
    }
    if result.attempts > 1 {
        let element = if kind == Kind::Passed { "flakyFailure" } else { "rerunFailure" };
        leaf(element, &[("type", "waited-in-vain"), ("message", FIRST_ATTEMPT)], "", xml)?;
    }
    if warning {
        let text = format!("warning: {}\n{}", outcome.said_of(result.level), details(result));
        leaf("system-out", &[], &text, xml)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

fn leaf(element: &str, attributes: &[(&str, &str)], text: &str, xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let start = BytesStart::new(element).with_attributes(attributes.iter().copied());
    if text.is_empty() {
        return xml.write_event(Event::Empty(start));
    }
    xml.write_event(Event::Start(start))?;
    xml.write_event(Event::Text(BytesText::new(text)))?;
    xml.write_event(Event::End(BytesEnd::new(element)))
}

/// What a case is to a CI server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passed,
    Failed,
    Broken,
    Skipped,
}

fn kind(run: &Run, result: &CheckResult) -> Kind {
    match Outcome::of(result) {
        Outcome::Error => Kind::Broken,
        _ if run.is_red(result) => Kind::Failed,
        Outcome::Pass | Outcome::Warn => Kind::Passed,
        _ => Kind::Skipped,
    }
}

fn counts(run: &Run, results: &[&CheckResult], element: &mut BytesStart<'_>) {
    let count = |wanted| results.iter().filter(|result| kind(run, result) == wanted).count().to_string();
    element.push_attribute(("tests", results.len().to_string().as_str()));
    element.push_attribute(("failures", count(Kind::Failed).as_str()));
    element.push_attribute(("errors", count(Kind::Broken).as_str()));
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Level, sentence, evidence and the ways to run it again, as text.
pub(super) fn details(result: &CheckResult) -> String {
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
    for (label, text) in
        [("run again", &result.rerun), ("by hand", &result.grpcurl), ("trace id", &result.trace)]
    {
        lines.extend((!text.is_empty()).then(|| format!("{label}: {}", visible(text))));
    }
    lines.join("\n")
}

/// Why a check was run twice.
const FIRST_ATTEMPT: &str =
    "the first attempt waited for an answer in vain; the second one had more patience";
/// Characters of a message, which CI servers show in a list, and of a reason.
const MESSAGE: usize = 500;
const REASON: usize = 8000;
