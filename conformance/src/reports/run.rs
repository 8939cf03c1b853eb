//! A run as far as its events have told it: what the documents are made from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    conclusion::{self, Conclusion},
    language::Language,
    outcome::Outcome,
};
use crate::events::{CheckResult, Event, RunFinished, RunStarted, Summary, Survey};

/// The last moment that RFC 3339 can write: the end of the year 9999.
const LAST_MOMENT_MS: u64 = 253_402_300_799_999;

/// A run as far as its events have told it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What was to be run.
    pub started: Option<RunStarted>,
    /// What the target answered before any check.
    pub survey: Survey,
    /// The results, in the order of the plan.
    pub results: Vec<CheckResult>,
    /// Missing where the run was cut short.
    pub finished: Option<RunFinished>,
    /// The language of the words around the results.
    pub language: Language,
}

impl Run {
    /// The run that these events tell.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut run = Self::default();
        events.into_iter().for_each(|event| run.take(event));
        run
    }

    /// Takes the next event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::RunStarted(started) => self.started = Some(started.clone()),
            Event::Surveyed(survey) => self.survey = survey.clone(),
            Event::CheckStarted { .. } => {}
            Event::CheckFinished(result) => self.results.push(finite(result)),
            Event::RunFinished(finished) => self.finished = Some(finished.clone()),
        }
    }

    /// Whether the run came to its end.
    pub fn complete(&self) -> bool {
        self.finished.as_ref().is_some_and(|finished| !finished.interrupted && finished.broke_off.is_none())
    }

    /// How many requirements were to be asked.
    pub fn planned(&self) -> usize {
        self.started.as_ref().map_or(self.results.len(), |started| started.planned)
    }

    /// Milliseconds; of a run that was cut short, of its checks.
    pub fn duration_ms(&self) -> u64 {
        let of_checks = || self.results.iter().fold(0, |sum: u64, r| sum.saturating_add(r.duration_ms));
        self.finished.as_ref().map_or_else(of_checks, |finished| finished.duration_ms)
    }

    /// RFC 3339; empty if no event said it.
    pub fn started_at(&self) -> String {
        self.started.as_ref().map(|started| rfc3339(started.started_at_ms)).unwrap_or_default()
    }

    /// Counts of the results that came.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.results.iter().for_each(|result| summary.add(result));
        summary
    }

    /// How many results there are of each outcome that occurs, worst first.
    pub fn counts(&self) -> Vec<(Outcome, usize)> {
        counts(self.results.iter())
    }

    /// Whether a warning and an inconclusive check make the run red.
    pub fn strict(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.strict)
    }

    /// Whether this result makes the run red.
    pub fn is_red(&self, result: &CheckResult) -> bool {
        Outcome::of(result).is_red(self.strict())
    }

    /// The verdict on the target, in a sentence in the run's language.
    pub fn conclusion(&self) -> Conclusion {
        self.conclusion_in(self.language)
    }

    /// The verdict on the target, in a sentence.
    pub fn conclusion_in(&self, language: Language) -> Conclusion {
        conclusion::conclude(self, language)
    }

    /// The results by area, in the order of the plan.
    pub fn areas(&self) -> Vec<(&str, Vec<&CheckResult>)> {
        let mut areas: Vec<(&str, Vec<&CheckResult>)> = Vec::new();
        for result in &self.results {
            let area = area(&result.id);
            match areas.iter_mut().find(|(name, _)| *name == area) {
                Some((_, results)) => results.push(result),
                None => areas.push((area, vec![result])),
            }
        }
        areas
    }

    /// What the target is and how it was run, as label and value.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let survey = &self.survey;
        let metric = |name: &str| survey.metrics.get(name).cloned().unwrap_or_default();
        let mut facts = Vec::new();
        facts.extend(survey.subject.as_ref().map(|subject| ("name", subject.to_string())));
        if let Some(started) = &self.started {
            facts.push(("target", started.addresses.join(", ")));
        }
        let model = if survey.model.is_empty() { "the server's default" } else { &survey.model };
        facts.extend([
            ("dialect", survey.dialect.clone()),
            ("services", survey.services.join(", ")),
            ("reflection", survey.reflection.clone().unwrap_or_else(|| "none".to_owned())),
            ("model", model.to_owned()),
            ("backend", format!("{} {}", metric("backend"), metric("version")).trim().to_owned()),
        ]);
        if let Some(ttft_ms) = survey.ttft_ms {
            let rate = survey.chunks_per_second.map(|rate| format!(", {rate:.0} chunks a second"));
            facts.push(("speed", format!("first text after {ttft_ms:.0} ms{}", rate.unwrap_or_default())));
        }
        if let Some(started) = &self.started {
            let roles: Vec<_> = started.roles.iter().map(ToString::to_string).collect();
            let (planned, profile, seed) = (started.planned, &started.profile, started.seed);
            let requirements = if planned == 1 { "requirement" } else { "requirements" };
            let of_role = if roles.len() == 1 { "the role" } else { "the roles" };
            let roles = roles.join(", ");
            let run =
                format!("{planned} {requirements} of {of_role} {roles}, profile {profile}, seed {seed}");
            facts.push(("run", run));
        }
        facts.retain(|(_, value)| !value.is_empty());
        facts
    }
}

/// How many results there are of each outcome that occurs, worst first.
pub(super) fn counts<'a>(results: impl Iterator<Item = &'a CheckResult>) -> Vec<(Outcome, usize)> {
    let outcomes: Vec<_> = results.map(Outcome::of).collect();
    let count = |outcome| outcomes.iter().filter(|seen| **seen == outcome).count();
    Outcome::ALL.into_iter().map(|outcome| (outcome, count(outcome))).filter(|(_, n)| *n > 0).collect()
}

/// A moment in Unix milliseconds, as RFC 3339 in UTC.
pub(super) fn rfc3339(ms: u64) -> String {
    let at: SystemTime = UNIX_EPOCH + Duration::from_millis(ms.min(LAST_MOMENT_MS));
    humantime::format_rfc3339_millis(at).to_string()
}

/// The area of an id: `STREAM` of `STREAM-001`.
pub(super) fn area(id: &str) -> &str {
    id.split_once('-').map_or(id, |(area, _)| area)
}

/// JSON has no infinities: a time that is no number becomes zero.
fn finite(result: &CheckResult) -> CheckResult {
    let mut result = result.clone();
    result.evidence.iter_mut().filter(|e| !e.at_ms.is_finite()).for_each(|e| e.at_ms = 0.0);
    result
}
