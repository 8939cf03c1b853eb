//! What the live report's lines look like. Pure: data in, lines out.

use std::path::Path;

use present::{Paint, text};

use super::super::{
    decisive::decisive,
    outcome::Outcome,
    run::{self, Run},
};
use crate::{
    events::CheckResult,
    evidence::{Direction, Exchange},
};

/// Text is wrapped at this many columns.
const WIDTH: usize = 100;
/// Exchanges shown of a check; the other reports have all that were kept.
const EXCHANGES: usize = 12;
/// Characters of a reason, an exchange and a one-line reason; the rest is in the other reports.
const REASON: usize = 700;
const EXCHANGE: usize = 160;
const BRIEF: usize = 160;

/// Makes the lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    paint: Paint,
}

impl Blocks {
    pub(super) fn new(color: bool) -> Self {
        Self { paint: Paint::new(color) }
    }

    /// Who is judged, and how.
    pub(super) fn header(self, run: &Run) -> String {
        let version = run.started.as_ref().map(|s| s.version.as_str()).unwrap_or_default();
        let mut lines = Lines::default();
        lines.add(&self.paint.bold(format!("conformance {}", text::visible(version)).trim()));
        for (label, value) in run.facts() {
            lines.add(&format!("  {label:<12}{}", text::cut(&text::visible(&value), BRIEF)));
        }
        for warning in &run.survey.warnings {
            for (n, line) in text::wrap(&text::visible(warning), WIDTH).iter().enumerate() {
                let mark = if n == 0 { "! " } else { "  " };
                lines.add(&self.paint.toned(Outcome::Warn.tone(), &format!("  {mark}{line}")));
            }
        }
        lines.add("");
        lines.text
    }

    /// What a result adds at once; nothing for one that needs no words. `earlier` are the results before it.
    pub(super) fn result(self, result: &CheckResult, earlier: &[CheckResult]) -> String {
        match Outcome::of(result) {
            Outcome::Pass | Outcome::Skip => String::new(),
            Outcome::Known | Outcome::KnownInconclusive | Outcome::Stale | Outcome::Inconclusive => {
                self.brief(result)
            }
            Outcome::Fail | Outcome::Warn | Outcome::Error => self.block(result, earlier),
        }
    }

    /// An area's counts in one line.
    pub(super) fn area(self, area: &str, results: &[CheckResult]) -> String {
        let counts = run::counts(results.iter());
        let worst = counts.first().map_or(Outcome::Skip, |(outcome, _)| *outcome);
        let mark = self.paint.toned(worst.tone(), worst.symbol());
        format!("{mark} {:<12} {}\n", text::visible(area), self.counts(&counts))
    }

    /// Where the target stands, and where to read on.
    pub(super) fn end(self, run: &Run, reports_in: Option<&Path>) -> String {
        let mut lines = Lines::default();
        let (seconds, conclusion) = (run.duration_ms() as f64 / 1e3, run.conclusion());
        lines.add("");
        self.skips(run, &mut lines);
        let total = run.results.len();
        lines.add(&format!("{total} requirements in {seconds:.1} s: {}", self.counts(&run.counts())));
        for line in text::wrap(&text::visible(&conclusion.sentence), WIDTH) {
            lines.add(&self.paint.strong(conclusion.standing.tone(), &line));
        }
        if let Some(directory) = reports_in {
            let directory = text::visible(&directory.display().to_string());
            let directory = directory.trim_end_matches('/');
            lines.add(&format!(
                "Reports: {directory}/report.html, report.md, report.json, junit.xml, ctrf.json, events.jsonl"
            ));
        }
        lines.text
    }

    /// One line: symbol, id, word, reason.
    fn brief(self, result: &CheckResult) -> String {
        let outcome = Outcome::of(result);
        let (id, reason) = (text::visible(&result.id), text::cut(&text::visible(&result.reason), BRIEF));
        let head = format!("{} {id:<12} {}", outcome.symbol(), outcome.said_of(result.level));
        let colon = if reason.is_empty() { "" } else { ": " };
        format!("{}{colon}{reason}\n", self.paint.toned(outcome.tone(), &head))
    }

    /// Everything that a person needs to see what went wrong.
    fn block(self, result: &CheckResult, earlier: &[CheckResult]) -> String {
        let outcome = Outcome::of(result);
        let (id, title) = (text::visible(&result.id), text::visible(&result.title));
        let mut lines = Lines::default();
        lines.add("");
        let head = format!("{} {id}  {}", outcome.symbol(), outcome.said_of(result.level));
        lines.add(&format!("{}: {}", self.paint.toned(outcome.tone(), &head), self.paint.bold(&title)));
        self.heading("The contract says", &mut lines);
        lines.indented(&text::wrap(&text::visible(&result.requirement), WIDTH));
        let heading = if outcome == Outcome::Error { "How the suite broke" } else { "What was seen" };
        self.heading(heading, &mut lines);
        for line in text::visible_lines(&text::cut(&result.reason, REASON)) {
            lines.indented(&text::wrap(&line, WIDTH));
        }
        match earlier.iter().find(|e| Outcome::of(e) == outcome && e.reason == result.reason) {
            Some(same) => {
                self.heading(&format!("As in {} above", text::visible(&same.id)), &mut lines);
            }
            None => self.exchanges(result, &mut lines),
        }
        lines.add(&format!("  {}  conformance explain {id}", self.paint.dim("Read more")));
        if !result.rerun.is_empty() {
            let rerun = text::visible(&result.rerun);
            lines.add(&format!("  {}  {rerun}", self.paint.dim("Run again")));
        }
        lines.add("");
        lines.text
    }

    fn exchanges(self, result: &CheckResult, lines: &mut Lines) {
        let all = result.evidence.len() + result.evidence_omitted;
        let shown = decisive(result, EXCHANGES);
        if shown.is_empty() {
            return;
        }
        let which = if shown.len() < all {
            format!("{} of {all} exchanges, those that the verdict is about", shown.len())
        } else {
            "The exchanges".to_owned()
        };
        self.heading(&format!("{which}, in ms since the check began"), lines);
        let mut after = None;
        for at in shown {
            if after.is_some_and(|after| at > after) {
                lines.add(&self.paint.dim("             …"));
            }
            after = Some(at + 1);
            lines.add(&self.exchange(&result.evidence[at]));
        }
    }

    fn exchange(self, exchange: &Exchange) -> String {
        let arrow = match exchange.direction {
            Direction::Sent => "→ sent    ",
            Direction::Received => "← received",
        };
        let call = match exchange.call {
            0 => "connection".to_owned(),
            call => format!("call {call}"),
        };
        let what = text::cut(&text::visible(&exchange.what), EXCHANGE);
        format!("  {} {arrow} {what}", self.paint.dim(&format!("{:>10.1}  {call:<10}", exchange.at_ms)))
    }

    /// Skipped requirements by reason: many share one.
    fn skips(self, run: &Run, lines: &mut Lines) {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for result in run.results.iter().filter(|r| Outcome::of(r) == Outcome::Skip) {
            match reasons.iter_mut().find(|(reason, _)| *reason == result.reason) {
                Some((_, ids)) => ids.push(&result.id),
                None => reasons.push((&result.reason, vec![&result.id])),
            }
        }
        for (reason, ids) in reasons {
            let line = format!("– skipped {}: {}", ids.join(", "), text::cut(reason, BRIEF));
            for line in text::wrap(&text::visible(&line), WIDTH) {
                lines.add(&self.paint.dim(&line));
            }
        }
    }

    fn counts(self, counts: &[(Outcome, usize)]) -> String {
        let each =
            counts.iter().rev().map(|(outcome, n)| self.paint.toned(outcome.tone(), &outcome.counted(*n)));
        let each: Vec<_> = each.collect();
        if each.is_empty() { "nothing was asked".to_owned() } else { each.join(", ") }
    }

    fn heading(self, heading: &str, lines: &mut Lines) {
        lines.add(&format!("  {}", self.paint.dim(heading)));
    }
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn indented(&mut self, lines: &[String]) {
        for line in lines {
            self.add(&format!("    {line}"));
        }
    }
}
