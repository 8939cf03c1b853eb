//! `report.html`: one self-contained page. This file says what is on it; `html/report.html` says how it looks.
//!
//! Nothing is loaded from elsewhere. Every value passes the template's automatic escaping; none is marked as safe.

use std::io;

use present::{
    BASE_STYLE,
    text::{cut, visible, visible_lines},
};
use serde::Serialize;

use super::{
    language::Language,
    outcome::Outcome,
    page::{self, Block, Span},
    run::{self, Run},
    timeline::{self, Timeline},
};
use crate::{
    events::CheckResult,
    evidence::{Direction, Exchange},
    requirement::Requirement,
    requirements,
};

/// How the page looks.
const TEMPLATES: [(&str, &str); 2] = [BASE_STYLE, ("report.html", include_str!("html/report.html"))];
/// Characters of a reason and of an exchange; `report.json` has all of them.
const REASON: usize = 8000;
const EXCHANGE: usize = 1000;
/// Problems named at the top, and characters of their reasons there.
const PROBLEMS: usize = 12;
const BRIEF: usize = 200;

#[derive(Serialize)]
struct Page {
    lang: &'static str,
    chinese: bool,
    sentence: String,
    standing: &'static str,
    version: String,
    started_at: String,
    seconds: String,
    counts: Vec<Count>,
    facts: Vec<(&'static str, String)>,
    warnings: Vec<String>,
    problems: Vec<Problem>,
    more_problems: usize,
    areas: Vec<Area>,
}

/// What makes the target non-conformant, in a line, at the top.
#[derive(Serialize)]
struct Problem {
    id: String,
    title: String,
    outcome: Outcome,
    symbol: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Count {
    outcome: Outcome,
    symbol: &'static str,
    /// Heads a filter.
    word: &'static str,
    /// Says how many.
    counted: String,
    n: usize,
}

#[derive(Serialize)]
struct Area {
    name: String,
    counts: Vec<Count>,
    results: Vec<Card>,
}

/// One requirement on the page.
#[derive(Serialize)]
struct Card {
    id: String,
    /// The id without its area.
    short: String,
    level: String,
    role: String,
    title: String,
    outcome: Outcome,
    symbol: &'static str,
    said: String,
    open: bool,
    requirement: Vec<Span>,
    reason: Vec<String>,
    rerun: String,
    known_because: String,
    grpcurl: String,
    trace: String,
    exercised: u32,
    attempts: u32,
    took: String,
    exchanges: Vec<Row>,
    omitted: usize,
    timeline: Option<Timeline>,
    page: Vec<Block>,
}

/// One exchange of messages on the page.
#[derive(Serialize)]
struct Row {
    at: String,
    call: u32,
    sent: bool,
    what: String,
}

pub(super) fn render(run: &Run) -> io::Result<String> {
    present::render(&TEMPLATES, "report.html", Page::of(run))
}

impl Page {
    fn of(run: &Run) -> Self {
        let conclusion = run.conclusion();
        let areas = run.areas().into_iter().map(|(name, results)| Area {
            name: visible(name),
            counts: counts(&run::counts(results.iter().copied()), run.language),
            results: results.into_iter().map(|result| Card::of(run, result)).collect(),
        });
        let problems: Vec<_> =
            run.results.iter().filter(|result| run.is_red(result)).map(Problem::of).collect();
        Self {
            lang: run.language.tag(),
            chinese: run.language == Language::Chinese,
            sentence: visible(&conclusion.sentence),
            standing: conclusion.standing.name(),
            version: run.started.as_ref().map(|s| visible(&s.version)).unwrap_or_default(),
            started_at: run.started_at(),
            seconds: format!("{:.1}", run.duration_ms() as f64 / 1e3),
            counts: counts(&run.counts(), run.language),
            facts: run.facts().into_iter().map(|(label, value)| (label, visible(&value))).collect(),
            warnings: run.survey.warnings.iter().map(|warning| visible(warning)).collect(),
            more_problems: problems.len().saturating_sub(PROBLEMS),
            problems: problems.into_iter().take(PROBLEMS).collect(),
            areas: areas.collect(),
        }
    }
}

impl Problem {
    fn of(result: &CheckResult) -> Self {
        let outcome = Outcome::of(result);
        Self {
            id: anchor(&result.id),
            title: visible(&result.title),
            outcome,
            symbol: outcome.symbol(),
            reason: cut(&visible(&result.reason), BRIEF),
        }
    }
}

impl Card {
    fn of(run: &Run, result: &CheckResult) -> Self {
        let outcome = Outcome::of(result);
        let told = !matches!(outcome, Outcome::Pass | Outcome::Skip);
        let evidence = if told { result.evidence.as_slice() } else { &[] };
        Self {
            id: anchor(&result.id),
            short: visible(result.id.split_once('-').map_or(result.id.as_str(), |(_, number)| number)),
            level: result.level.to_string(),
            role: result.role.to_string(),
            title: visible(&result.title),
            outcome,
            symbol: outcome.symbol(),
            said: outcome.said_of(result.level),
            open: run.is_red(result),
            requirement: page::spans(&visible(&result.requirement)),
            reason: visible_lines(&cut(&result.reason, REASON)),
            rerun: visible(&result.rerun),
            known_because: visible(&result.known_because),
            grpcurl: if told { visible(&result.grpcurl) } else { String::new() },
            trace: if told { visible(&result.trace) } else { String::new() },
            exercised: result.exercised,
            attempts: result.attempts,
            took: timeline::time(result.duration_ms as f64),
            exchanges: evidence.iter().map(Row::of).collect(),
            omitted: result.evidence_omitted,
            timeline: Timeline::of(evidence),
            page: catalogue(&result.id).map(rest_of_page).unwrap_or_default(),
        }
    }
}

impl Row {
    fn of(exchange: &Exchange) -> Self {
        Self {
            at: timeline::time(exchange.at_ms),
            call: exchange.call,
            sent: exchange.direction == Direction::Sent,
            what: cut(&visible(&exchange.what), EXCHANGE),
        }
    }
}

fn counts(counts: &[(Outcome, usize)], language: Language) -> Vec<Count> {
    let shown = |(outcome, n): &(Outcome, usize)| Count {
        outcome: *outcome,
        symbol: outcome.symbol(),
        word: outcome.word_in(language),
        counted: outcome.counted_in(*n, language),
        n: *n,
    };
    counts.iter().map(shown).collect()
}

/// An id that stands behind the `#` of a link too: a `#` of its own would make a CI server's command of both.
fn anchor(id: &str) -> String {
    visible(id).replace('#', "\\u{23}")
}

fn catalogue(id: &str) -> Option<&'static Requirement> {
    requirements::ALL.iter().copied().find(|requirement| requirement.id == id)
}

/// The page without its first section, the sentence, which the card shows already.
fn rest_of_page(requirement: &Requirement) -> Vec<Block> {
    let blocks = page::blocks(requirement.page);
    let headings = blocks.iter().enumerate().filter(|(_, block)| matches!(block, Block::Heading(_)));
    let second = headings.map(|(at, _)| at).nth(1).unwrap_or_default();
    blocks.into_iter().skip(second).collect()
}
