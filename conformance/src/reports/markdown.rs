//! A summary for a pull request: the verdict, the counts by area, and why each failure is one.
//!
//! A target's text stands in code only, where neither markup nor a mention of a person is understood, and no line of it
//! begins as a command of a CI server. Bounded, because a comment is.

use present::text::{cut, inert, visible, visible_lines};

use super::{
    outcome::Outcome,
    run::{Run, counts},
};
use crate::events::CheckResult;

/// Failures told at length; a comment on GitHub holds 65,536 characters.
const AT_LENGTH: usize = 25;
/// Characters of a reason and of a fact.
const REASON: usize = 900;
const FACT: usize = 200;

pub(super) fn render(run: &Run) -> String {
    let mut out = vec![format!("## {}", escape(&run.conclusion().sentence)), String::new()];
    facts(run, &mut out);
    areas(run, &mut out);
    section(run, "Failures", &[Outcome::Fail, Outcome::Error, Outcome::Stale], &mut out);
    let (warnings, inconclusive) = if run.strict() {
        ("Warnings, which fail this strict run", "Inconclusive, which fails this strict run")
    } else {
        ("Warnings", "Inconclusive")
    };
    section(run, warnings, &[Outcome::Warn], &mut out);
    brief(run, inconclusive, Outcome::Inconclusive, &mut out);
    brief(run, "Known failures", Outcome::Known, &mut out);
    brief(run, "Known inconclusive checks", Outcome::KnownInconclusive, &mut out);
    brief(run, "Skipped", Outcome::Skip, &mut out);
    inert(out.join("\n").trim_end()) + "\n"
}

fn facts(run: &Run, out: &mut Vec<String>) {
    for (label, value) in run.facts() {
        out.push(format!("- {label}: {}", code(&value, FACT)));
    }
    for warning in &run.survey.warnings {
        out.push(format!("- warning: {}", code(warning, REASON)));
    }
    out.push(String::new());
}

fn areas(run: &Run, out: &mut Vec<String>) {
    let shown = run.counts();
    let words: Vec<_> = shown.iter().map(|(outcome, _)| outcome.word()).collect();
    if words.is_empty() {
        return;
    }
    out.push(format!("| area | {} |", words.join(" | ")));
    out.push(format!("|---|{}", "--:|".repeat(words.len())));
    let row = |name: &str, of_row: &[(Outcome, usize)]| {
        let count = |outcome| {
            of_row.iter().find(|(o, _)| *o == outcome).map_or(String::new(), |(_, n)| n.to_string())
        };
        let cells: Vec<_> = shown.iter().map(|(outcome, _)| count(*outcome)).collect();
        format!("| {name} | {} |", cells.join(" | "))
    };
    for (area, results) in run.areas() {
        out.push(row(&escape(area), &counts(results.into_iter())));
    }
    out.push(row("**all**", &shown));
    out.push(String::new());
}

/// Results at length: sentence, reason, command.
fn section(run: &Run, heading: &str, outcomes: &[Outcome], out: &mut Vec<String>) {
    let found = run.results.iter().filter(|result| outcomes.contains(&Outcome::of(result)));
    let found: Vec<&CheckResult> = found.collect();
    if found.is_empty() {
        return;
    }
    out.extend([format!("### {heading}"), String::new()]);
    for result in found.iter().take(AT_LENGTH) {
        let outcome = Outcome::of(result);
        let (id, title) = (escape(&result.id), escape(&result.title));
        out.push(format!("**{id}** {}: {title}", outcome.said_of(result.level)));
        out.extend([String::new(), format!("> {}", escape(&result.requirement)), String::new()]);
        let seen = cut(&result.reason, REASON);
        let text: Vec<_> = [seen.as_str(), &result.rerun, &result.grpcurl]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        out.extend([fenced(&text.join("\n\n")), String::new()]);
    }
    if let Some(rest) = found.get(AT_LENGTH..).filter(|rest| !rest.is_empty()) {
        let ids: Vec<_> = rest.iter().map(|result| escape(&result.id)).collect();
        out.extend([format!("And {} more: {}", rest.len(), ids.join(", ")), String::new()]);
    }
}

/// Results in one line each, folded away.
fn brief(run: &Run, heading: &str, outcome: Outcome, out: &mut Vec<String>) {
    let found: Vec<&CheckResult> =
        run.results.iter().filter(|result| Outcome::of(result) == outcome).collect();
    if found.is_empty() {
        return;
    }
    out.push(format!("<details><summary>{heading} ({})</summary>", found.len()));
    out.push(String::new());
    for result in found {
        let known = match result.known_because.as_str() {
            "" => String::new(),
            because => format!(" – known: {}", code(because, FACT)),
        };
        let reason = code(&result.reason, FACT);
        out.push(format!("- {} {}: {reason}{known}", escape(&result.id), result.level));
    }
    out.extend([String::new(), "</details>".to_owned(), String::new()]);
}

/// A code span that holds any text.
fn code(text: &str, limit: usize) -> String {
    let text = cut(&visible(text), limit);
    if text.is_empty() {
        return "–".to_owned();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// A code block that holds any text.
fn fenced(text: &str) -> String {
    let text = visible_lines(text).join("\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// Prose of the suite's own, with code spans left as they are; everything else that could be markup is escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let text = visible(text);
    let balanced = text.matches('`').count().is_multiple_of(2) && !text.contains("``");
    for (n, part) in text.split('`').enumerate() {
        if n > 0 {
            escaped.push_str(if balanced { "`" } else { "\\`" });
        }
        if balanced && n % 2 == 1 {
            escaped.push_str(part);
            continue;
        }
        for c in part.chars() {
            match c {
                '<' => escaped.push_str("&lt;"),
                '&' => escaped.push_str("&amp;"),
                '\\' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '$' => escaped.extend(['\\', c]),
                '@' => escaped.push_str("@\u{2060}"),
                _ => escaped.push(c),
            }
        }
    }
    escaped
}
