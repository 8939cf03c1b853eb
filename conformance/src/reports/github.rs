//! Annotations in a GitHub Actions log: an error for each MUST that failed, a warning for what a reader should know.

use present::text::{cut, visible};

use super::{conclusion::Standing, outcome::Outcome, run::Run};
use crate::events::CheckResult;

/// Characters of a reason; an annotation is a few lines.
const REASON: usize = 1000;

pub(super) fn render(run: &Run) -> String {
    let mut lines: Vec<_> = run.results.iter().filter_map(annotation).collect();
    let conclusion = run.conclusion();
    let command = match conclusion.standing {
        Standing::Conformant => "notice",
        Standing::NotConformant => "error",
        Standing::Unknown => "warning",
    };
    lines.push(command_line(command, "conformance", &visible(&conclusion.sentence)));
    lines.join("\n") + "\n"
}

fn annotation(result: &CheckResult) -> Option<String> {
    let outcome = Outcome::of(result);
    let command = match outcome {
        Outcome::Fail | Outcome::Error | Outcome::Stale => "error",
        Outcome::Warn | Outcome::Inconclusive => "warning",
        Outcome::Known => "notice",
        Outcome::Skip | Outcome::Pass => return None,
    };
    let title = format!("{} {}", visible(&result.id), outcome.said_of(result.level));
    let mut message = vec![visible(&result.title)];
    message.extend((!result.reason.is_empty()).then(|| cut(&visible(&result.reason), REASON)));
    message.extend((!result.rerun.is_empty()).then(|| format!("run again: {}", visible(&result.rerun))));
    Some(command_line(command, &title, &message.join("\n")))
}

fn command_line(command: &str, title: &str, message: &str) -> String {
    let message = message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = title.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = title.replace(':', "%3A").replace(',', "%2C");
    format!("::{command} title={title}::{message}")
}
