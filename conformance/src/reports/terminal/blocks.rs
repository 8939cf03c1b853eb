//! What the live report's lines look like. Pure: data in, lines out.

use std::path::Path;

use present::{Paint, Stream, text};

use super::super::{
    decisive::decisive,
    language::Language,
    outcome::Outcome,
    run::{self, Run},
};
use crate::{
    events::CheckResult,
    evidence::{Direction, Exchange},
};

/// Columns of text where no terminal says how wide it is, and the least and the most that are used of one.
const WIDTH: usize = 100;
const NARROWEST: usize = 40;
const WIDEST: usize = 120;
/// Exchanges shown of a check; the other reports have all that were kept.
const EXCHANGES: usize = 12;
/// Characters of a reason, an exchange and a one-line reason; the rest is in the other reports.
const REASON: usize = 700;
const EXCHANGE: usize = 160;
const BRIEF: usize = 160;
/// Columns before an area's counts.
const AREA_COLUMNS: usize = 15;
/// Columns before what was exchanged.
const COLUMNS: usize = 36;

/// Makes the lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    paint: Paint,
    width: usize,
    language: Language,
}

impl Blocks {
    pub(super) fn new(stream: Stream, language: Language) -> Self {
        let width = stream.width.map_or(WIDTH, |columns| usize::from(columns).clamp(NARROWEST, WIDEST));
        Self { paint: Paint::new(stream.color), width, language }
    }

    fn pick(self, english: &'static str, chinese: &'static str) -> &'static str {
        self.language.pick(english, chinese)
    }

    /// Who is judged, and how.
    pub(super) fn header(self, run: &Run) -> String {
        let version = run.started.as_ref().map(|s| s.version.as_str()).unwrap_or_default();
        let mut lines = Lines::default();
        lines.add(&self.paint.bold(format!("conformance {}", text::visible(version)).trim()));
        for (label, value) in run.facts() {
            self.hanging(&format!("  {label:<12}"), &text::cut(&text::visible(&value), BRIEF), &mut lines);
        }
        for warning in &run.survey.warnings {
            for (n, line) in text::wrap(&text::visible(warning), self.width - 4).iter().enumerate() {
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
        let mut lines = Lines::default();
        self.counts(&format!("{mark} {:<12} ", text::visible(area)), AREA_COLUMNS, &counts, &mut lines);
        lines.text
    }

    /// Where the target stands, and where to read on.
    pub(super) fn end(self, run: &Run, reports_in: Option<&Path>) -> String {
        let mut lines = Lines::default();
        let (seconds, conclusion) = (run.duration_ms() as f64 / 1e3, run.conclusion());
        lines.add("");
        self.skips(run, &mut lines);
        let total = run.results.len();
        let before = match self.language {
            Language::English if total == 1 => format!("1 requirement in {seconds:.1} s: "),
            Language::English => format!("{total} requirements in {seconds:.1} s: "),
            Language::Chinese => format!("{total} 条要求，用时 {seconds:.1} 秒："),
        };
        self.counts(&before, text::width(&before), &run.counts(), &mut lines);
        for line in text::wrap(&text::visible(&conclusion.sentence), self.width) {
            lines.add(&self.paint.strong(conclusion.standing.tone(), &line));
        }
        if let Some(directory) = reports_in {
            let directory = text::visible(&directory.display().to_string());
            let directory = directory.trim_end_matches('/');
            let files = "report.html, report.md, report.json, junit.xml, ctrf.json, events.jsonl";
            let reports = self.pick("Reports:", "报告：");
            for line in text::wrap(&format!("{reports} {directory}/{files}"), self.width) {
                lines.add(&line);
            }
        }
        lines.text
    }

    /// One line: symbol, id, word, reason.
    fn brief(self, result: &CheckResult) -> String {
        let outcome = Outcome::of(result);
        let (id, reason) = (text::visible(&result.id), text::cut(&text::visible(&result.reason), REASON));
        let head = format!("{} {id:<12} {}", outcome.symbol(), outcome.said_of(result.level));
        let colon = if reason.is_empty() { "" } else { ": " };
        let known = match text::cut(&text::visible(&result.known_because), BRIEF) {
            because if because.is_empty() => String::new(),
            because => format!("; {} {because}", self.pick("known:", "已知：")),
        };
        let mut lines = Lines::default();
        for (n, line) in
            text::wrap(&format!("{head}{colon}{reason}{known}"), self.width - 2).iter().enumerate()
        {
            let painted = line.strip_prefix(&head).map(|rest| self.paint.toned(outcome.tone(), &head) + rest);
            let indent = if n == 0 { "" } else { "  " };
            lines.add(&format!("{indent}{}", painted.unwrap_or_else(|| line.clone())));
        }
        lines.text
    }

    /// Everything that a person needs to see what went wrong.
    fn block(self, result: &CheckResult, earlier: &[CheckResult]) -> String {
        let outcome = Outcome::of(result);
        let (id, title) = (text::visible(&result.id), text::visible(&result.title));
        let mut lines = Lines::default();
        lines.add("");
        let head = format!("{} {id}  {}", outcome.symbol(), outcome.said_of(result.level));
        for (n, line) in text::wrap(&format!("{head}: {title}"), self.width - 2).iter().enumerate() {
            let toned = line.strip_prefix(&format!("{head}:")).map(|title| {
                format!("{}:{}", self.paint.toned(outcome.tone(), &head), self.paint.bold(title))
            });
            let indent = if n == 0 { "" } else { "  " };
            lines.add(&format!("{indent}{}", toned.unwrap_or_else(|| self.paint.bold(line))));
        }
        self.heading(self.pick("The contract says", "契约要求"), &mut lines);
        lines.indented(&text::wrap(&text::visible(&result.requirement), self.width - 4));
        let heading = if outcome == Outcome::Error {
            self.pick("How the suite broke", "测试套件如何出错")
        } else {
            self.pick("What was seen", "实际看到")
        };
        self.heading(heading, &mut lines);
        for line in text::visible_lines(&text::cut(&result.reason, REASON)) {
            lines.indented(&text::wrap(&line, self.width - 4));
        }
        match earlier.iter().find(|e| Outcome::of(e) == outcome && e.reason == result.reason) {
            Some(same) => {
                let same = text::visible(&same.id);
                let heading = match self.language {
                    Language::English => format!("The same as in {same} above"),
                    Language::Chinese => format!("与上面的 {same} 相同"),
                };
                self.heading(&heading, &mut lines);
            }
            None => self.exchanges(result, &mut lines),
        }
        let explain = format!("conformance explain {id}");
        for (label, text) in [
            (self.pick("Read more", "详细说明"), &explain),
            (self.pick("Run again", "再次运行"), &result.rerun),
            (self.pick("By hand  ", "手动发送"), &result.grpcurl),
            (self.pick("Trace id ", "追踪编号"), &result.trace),
        ] {
            if !text.is_empty() {
                // A command is never wrapped: it is there to be copied.
                lines.add(&format!("  {}  {}", self.paint.dim(label), text::visible(text)));
            }
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
        let heading = match (self.language, shown.len()) {
            (Language::English, some) if some < all => {
                format!(
                    "{some} of {all} exchanges, those that the verdict is about, in ms since the check began"
                )
            }
            (Language::English, _) => "The exchanges, in ms since the check began".to_owned(),
            (Language::Chinese, some) if some < all => {
                format!("{all} 次收发中与结论有关的 {some} 次，时间为检查开始后的毫秒数")
            }
            (Language::Chinese, _) => "收发记录，时间为检查开始后的毫秒数".to_owned(),
        };
        for line in text::wrap(&heading, self.width - 2) {
            self.heading(&line, lines);
        }
        let mut after = None;
        for at in shown {
            if after.is_some_and(|after| at > after) {
                lines.add(&self.paint.dim("             …"));
            }
            after = Some(at + 1);
            self.exchange(&result.evidence[at], lines);
        }
    }

    fn exchange(self, exchange: &Exchange, lines: &mut Lines) {
        let arrow = match exchange.direction {
            Direction::Sent => self.pick("→ sent    ", "→ 发送    "),
            Direction::Received => self.pick("← received", "← 收到    "),
        };
        let call = match exchange.call {
            0 => "connection".to_owned(),
            call => format!("call {call}"),
        };
        let what = text::cut(&text::visible(&exchange.what), EXCHANGE);
        let when = self.paint.dim(&format!("{:>10.1}  {call:<10}", exchange.at_ms));
        // What was exchanged is wrapped behind the columns before it.
        for (n, line) in
            text::wrap(&what, self.width.saturating_sub(COLUMNS).max(NARROWEST / 2)).iter().enumerate()
        {
            lines.add(&if n == 0 {
                format!("  {when} {arrow} {line}")
            } else {
                format!("{:COLUMNS$}{line}", "")
            });
        }
    }

    /// A label, and a value wrapped beside it.
    fn hanging(self, label: &str, value: &str, lines: &mut Lines) {
        let room = self.width.saturating_sub(label.chars().count()).max(NARROWEST / 2);
        for (n, line) in text::wrap(value, room).iter().enumerate() {
            let before = if n == 0 { label.to_owned() } else { " ".repeat(label.chars().count()) };
            lines.add(&format!("{before}{line}"));
        }
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
            let line = format!("– skipped {}: {}", ids.join(", "), text::cut(reason, REASON));
            for line in text::wrap(&text::visible(&line), self.width) {
                lines.add(&self.paint.dim(&line));
            }
        }
    }

    /// Counts behind `before`, which takes `columns`; what does not fit goes on in a line of its own.
    fn counts(self, before: &str, columns: usize, counts: &[(Outcome, usize)], lines: &mut Lines) {
        let (mut line, mut used) = (before.to_owned(), columns);
        if counts.is_empty() {
            line.push_str(self.pick("nothing was asked", "没有检查任何要求"));
        }
        for (n, (outcome, count)) in counts.iter().rev().enumerate() {
            let comma = if n + 1 < counts.len() { "," } else { "" };
            let shown = outcome.counted_in(*count, self.language);
            let needed = text::width(&shown) + comma.len() + 1;
            if n > 0 && used + needed > self.width {
                lines.add(&line);
                (line, used) = ("  ".to_owned(), 2);
            }
            line.push_str(&self.paint.toned(outcome.tone(), &shown));
            line.push_str(comma);
            line.push(' ');
            used += needed;
        }
        lines.add(&line);
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
