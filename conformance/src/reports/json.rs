//! `report.json`: the whole run for programs. Schema: `docs/report.schema.json`. Fields are added, never renamed.

use std::{collections::BTreeMap, io};

use present::text;
use serde::{Deserialize, Serialize};

use super::{language::Language, run::Run};
use crate::{
    events::{SCHEMA, Subject, Summary, Verdict},
    evidence::Exchange,
    vocabulary::{Level, Role},
};

/// The contents of `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JsonReport {
    /// The version of this format.
    pub schema: u32,
    /// The program that judged.
    pub tool: Tool,
    /// The target that was judged.
    pub target: Target,
    /// The roles asked for.
    pub roles: Vec<Role>,
    /// `core`, `full` or `deployed`.
    pub profile: String,
    /// Everything random in the run follows from it.
    pub seed: u64,
    /// When the run began, in RFC 3339 form.
    pub started_at: String,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// The run did not come to its end: `results` is not everything that was asked.
    pub interrupted: bool,
    /// How many requirements were to be asked.
    pub planned: usize,
    /// Whether a SHOULD that failed, or an inconclusive check, makes the run red.
    #[serde(default)]
    pub strict: bool,
    /// `conformant`, `not-conformant` or `unknown`; a strict run that is red is `not-conformant`.
    pub standing: String,
    /// The same in a sentence.
    pub conclusion: String,
    /// Counts by verdict.
    pub summary: Summary,
    /// The results, in the order of the plan.
    pub results: Vec<JsonResult>,
}

/// The program that judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    /// Always `conformance`.
    pub name: String,
    /// Version of the program.
    pub version: String,
}

/// The target that was judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The addresses as the user gave them; the first was used.
    pub addresses: Vec<String>,
    /// The dialect that the checks used.
    pub dialect: String,
    /// Full service names that answered Health.
    pub services: Vec<String>,
    /// The reflection service that answered, if any.
    pub reflection: Option<String>,
    /// The model that the checks used; empty is the server's default.
    pub model: String,
    /// `metrics` of Health.
    pub metrics: BTreeMap<String, String>,
    /// What a reader must know before believing the rest.
    pub warnings: Vec<String>,
    /// What its target file calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

/// One requirement's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JsonResult {
    /// Id of the requirement.
    pub id: String,
    /// Level of the requirement.
    pub level: Level,
    /// The role it was asked in.
    pub role: Role,
    /// A few words.
    pub title: String,
    /// The contract's sentence.
    pub requirement: String,
    /// How it ended.
    pub verdict: Verdict,
    /// A listed known failure, or an inconclusive result that is listed or follows from a known failure.
    pub known: bool,
    /// Why it is tolerated.
    #[serde(default)]
    pub known_because: String,
    /// In words, for any verdict but pass.
    pub reason: String,
    /// What was sent and what came back.
    pub evidence: Vec<Exchange>,
    /// Exchanges left out of `evidence`.
    pub evidence_omitted: usize,
    /// How many assertions the check made.
    pub exercised: u32,
    /// How often the check was run before the verdict stood.
    pub attempts: u32,
    /// When the check began, as Unix time in milliseconds; zero if the recording does not say.
    #[serde(default)]
    pub started_at_ms: u64,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// The command that runs this one check again.
    pub rerun: String,
    /// The check's last request as a grpcurl command; empty where it cannot be shown.
    #[serde(default)]
    pub grpcurl: String,
    /// The trace id that every call of the check carried in `traceparent`.
    #[serde(default)]
    pub trace: String,
}

impl JsonReport {
    /// The report of a run.
    pub fn of(run: &Run) -> Self {
        let (survey, conclusion) = (&run.survey, run.conclusion_in(Language::English));
        let started = run.started.as_ref();
        Self {
            schema: SCHEMA,
            tool: Tool {
                name: "conformance".to_owned(),
                version: started.map(|s| s.version.clone()).unwrap_or_default(),
            },
            target: Target {
                addresses: started.map(|s| s.addresses.clone()).unwrap_or_default(),
                dialect: survey.dialect.clone(),
                services: survey.services.clone(),
                reflection: survey.reflection.clone(),
                model: survey.model.clone(),
                metrics: survey.metrics.clone(),
                warnings: survey.warnings.clone(),
                subject: survey.subject.clone(),
            },
            roles: started.map(|s| s.roles.clone()).unwrap_or_default(),
            profile: started.map(|s| s.profile.clone()).unwrap_or_default(),
            seed: started.map(|s| s.seed).unwrap_or_default(),
            started_at: run.started_at(),
            duration_ms: run.duration_ms(),
            interrupted: !run.complete(),
            planned: run.planned(),
            strict: run.strict(),
            standing: conclusion.standing.name().to_owned(),
            conclusion: conclusion.sentence,
            summary: run.summary(),
            results: run.results.iter().map(JsonResult::of).collect(),
        }
    }
}

impl JsonResult {
    fn of(result: &crate::events::CheckResult) -> Self {
        let result = result.clone();
        Self {
            id: result.id,
            level: result.level,
            role: result.role,
            title: result.title,
            requirement: result.requirement,
            verdict: result.verdict,
            known: result.known,
            known_because: result.known_because,
            reason: result.reason,
            evidence: result.evidence,
            evidence_omitted: result.evidence_omitted,
            exercised: result.exercised,
            attempts: result.attempts,
            started_at_ms: result.started_at_ms,
            duration_ms: result.duration_ms,
            rerun: result.rerun,
            grpcurl: result.grpcurl,
            trace: result.trace,
        }
    }
}

pub(super) fn render(run: &Run) -> io::Result<String> {
    let json = serde_json::to_string_pretty(&JsonReport::of(run))?;
    Ok(text::hidden_as_json_escapes(&json) + "\n")
}
