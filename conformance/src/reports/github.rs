//! Annotations in a GitHub Actions log: the conclusion first, then an error for each result that makes the run red and a
//! warning for what a reader should know. Pure.
//!
//! GitHub shows ten annotations of each level in a step, so that no more are written: red ones come first, and the last
//! one counts the rest. The whole run is in the step's summary, which is `report.md`.

use present::text::{cut, visible};

use super::{conclusion::Standing, outcome::Outcome, run::Run};
use crate::events::CheckResult;

pub(super) fn render(run: &Run) -> String {
    let conclusion = run.conclusion();
    let command = match conclusion.standing {
        Standing::Conformant => "notice",
        Standing::NotConformant => "error",
        Standing::Unknown => "warning",
    };
    let mut lines = vec![command_line(command, "conformance", &visible(&conclusion.sentence))];
    let mut told: Vec<&CheckResult> = run.results.iter().filter(|r| level(run, r).is_some()).collect();
    told.sort_by_key(|result| (!run.is_red(result), Outcome::of(result)));
    let room = ANNOTATIONS - lines.len();
    let shown = if told.len() <= room { told.len() } else { room - 1 };
    lines.extend(told.iter().take(shown).map(|result| annotation(run, result)));
    if let Some(rest) = told.get(shown..).filter(|rest| !rest.is_empty()) {
        let ids: Vec<_> = rest.iter().map(|result| visible(&result.id)).collect();
        let message = format!("{} more are in the step's summary: {}", rest.len(), ids.join(", "));
        lines.push(command_line("notice", "conformance", &cut(&message, REASON)));
    }
    lines.join("\n") + "\n"
}

/// The annotation's level, if the result is worth one.
fn level(run: &Run, result: &CheckResult) -> Option<&'static str> {
    match Outcome::of(result) {
        _ if run.is_red(result) => Some("error"),
        Outcome::Warn | Outcome::Inconclusive => Some("warning"),
        Outcome::Known | Outcome::KnownInconclusive => Some("notice"),
        _ => None,
    }
}

fn annotation(run: &Run, result: &CheckResult) -> String {
    let command = level(run, result).unwrap_or("notice");
    let strictly = matches!(Outcome::of(result), Outcome::Warn | Outcome::Inconclusive) && run.strict();
    let strictly = if strictly { ", and the run is strict" } else { "" };
    let title = format!("{} {}{strictly}", visible(&result.id), Outcome::of(result).said_of(result.level));
    let mut message = vec![visible(&result.title)];
    message.extend((!result.reason.is_empty()).then(|| cut(&visible(&result.reason), REASON)));
    message.extend(
        (!result.known_because.is_empty()).then(|| format!("known: {}", visible(&result.known_because))),
    );
    message.extend((!result.rerun.is_empty()).then(|| format!("run again: {}", visible(&result.rerun))));
    command_line(command, &title, &message.join("\n"))
}

fn command_line(command: &str, title: &str, message: &str) -> String {
    let message = message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = title.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = title.replace(':', "%3A").replace(',', "%2C");
    format!("::{command} title={title}::{message}")
}

/// Annotations in all, the conclusion among them.
const ANNOTATIONS: usize = 10;
/// Characters of a reason; an annotation is a few lines.
const REASON: usize = 1000;
