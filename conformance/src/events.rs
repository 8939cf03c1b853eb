//! The boundary between the runner and the reports: everything that happens in a run, as data.
//!
//! Versioned and serialisable; `events.jsonl` holds one event a line. Imports neither the runner nor the reports, so
//! that a report can be made again, offline, from the file alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    evidence::Exchange,
    vocabulary::{Level, Role},
};

/// The version of the event and report format.
pub const SCHEMA: u32 = 1;

/// Something that happened in a run, in the order in which it is reported.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// First: what is about to be run.
    RunStarted(RunStarted),
    /// What the target answered before any check.
    Surveyed(Survey),
    /// A check began; several may be under way.
    CheckStarted {
        /// Id of the requirement.
        id: String,
    },
    /// A check ended. Results come in the order of the plan.
    CheckFinished(Box<CheckResult>),
    /// The run ended; the last event.
    RunFinished(RunFinished),
}

/// What is about to be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunStarted {
    /// Version of the recording's form: [`SCHEMA`].
    pub schema: u32,
    /// This program's version.
    pub version: String,
    /// The target's addresses, as given; the first is used.
    pub addresses: Vec<String>,
    /// The roles asked for.
    pub roles: Vec<Role>,
    /// `core`, `full` or `deployed`.
    pub profile: String,
    /// Everything random in the run follows from it.
    pub seed: u64,
    /// Unix time in milliseconds.
    pub started_at_ms: u64,
    /// How many requirements are in the plan.
    pub planned: usize,
    /// A SHOULD or MAY that fails, and a check that is inconclusive, make the run red.
    #[serde(default)]
    pub strict: bool,
}

/// What the target answered before any check: facts, no judgement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Survey {
    /// The dialect that the checks use.
    pub dialect: String,
    /// Full service names that answered Health.
    pub services: Vec<String>,
    /// The reflection service that answered, if any.
    pub reflection: Option<String>,
    /// The model that the checks use; empty is the server's default model.
    pub model: String,
    /// `metrics` of Health.
    pub metrics: BTreeMap<String, String>,
    /// Time to the first text of one short generation, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// Text-bearing chunks a second in that generation.
    pub chunks_per_second: Option<f64>,
    /// Nothing at all came back from any call: patience is cut short.
    pub silent: bool,
    /// The prompts that give long and varied text here, best first.
    pub prompts: Vec<String>,
    /// What a reader must know before believing the rest (e.g. methods that do not exist are answered OK).
    pub warnings: Vec<String>,
    /// What its target file calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

/// What a target is called, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Name of the target.
    pub name: String,
    /// Version of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where people read more about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(f, " {version}"))?;
        self.url.iter().try_for_each(|url| write!(f, " ({url})"))
    }
}

/// One requirement's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckResult {
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
    /// Why it is known, in the list's words.
    #[serde(default)]
    pub known_because: String,
    /// In words, for any verdict but pass.
    pub reason: String,
    /// What was sent and what came back.
    pub evidence: Vec<Exchange>,
    /// Exchanges left out of `evidence`, which is bounded.
    pub evidence_omitted: usize,
    /// How many assertions the check made; zero is never a pass.
    pub exercised: u32,
    /// When the check began: Unix time in milliseconds; zero if the recording does not say.
    #[serde(default)]
    pub started_at_ms: u64,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// How often the check was run before the verdict stood.
    pub attempts: u32,
    /// The command that runs this one check again with the same seed.
    pub rerun: String,
    /// The check's last request with one message, as a grpcurl command; empty where it cannot be shown.
    #[serde(default)]
    pub grpcurl: String,
    /// The trace id of W3C Trace Context that every call of the check carried in `traceparent`.
    #[serde(default)]
    pub trace: String,
}

#[cfg(test)]
impl CheckResult {
    /// Of a MUST of the server role, for tests.
    pub(crate) fn of(id: &str, verdict: Verdict, reason: &str) -> Self {
        Self {
            id: id.to_owned(),
            level: Level::Must,
            role: Role::Server,
            title: String::new(),
            requirement: String::new(),
            verdict,
            known: false,
            known_because: String::new(),
            reason: reason.to_owned(),
            evidence: vec![],
            evidence_omitted: 0,
            exercised: 1,
            started_at_ms: 0,
            duration_ms: 0,
            attempts: 1,
            rerun: String::new(),
            grpcurl: String::new(),
            trace: String::new(),
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The requirement holds, as far as the check can see, and the check saw something.
    Pass,
    /// The target broke it.
    Fail,
    /// It was not asked: role, dialect or option not given.
    Skip,
    /// The check could not see.
    Inconclusive,
    /// The suite is at fault.
    Error,
}

/// How the run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunFinished {
    /// Counts by verdict.
    pub summary: Summary,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// The user stopped it before its end.
    pub interrupted: bool,
    /// Why the rest could not be judged, as a sentence: the target went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke_off: Option<String>,
}

/// Counts by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of requirements that passed.
    pub pass: usize,
    /// A MUST failed.
    pub fail: usize,
    /// A SHOULD or MAY failed.
    pub warn: usize,
    /// Number of requirements that were not asked.
    pub skip: usize,
    /// Could not see.
    pub inconclusive: usize,
    /// Failed as listed among the known failures.
    pub known: usize,
    /// Inconclusive, and listed among the known failures or a consequence of one.
    #[serde(default)]
    pub known_inconclusive: usize,
    /// The suite's own faults.
    pub error: usize,
}

impl Summary {
    /// Counts one more result.
    pub fn add(&mut self, result: &CheckResult) {
        match result.verdict {
            Verdict::Pass => self.pass += 1,
            Verdict::Fail if result.known => self.known += 1,
            Verdict::Fail if result.level == Level::Must => self.fail += 1,
            Verdict::Fail => self.warn += 1,
            Verdict::Skip => self.skip += 1,
            Verdict::Inconclusive if result.known => self.known_inconclusive += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::Error => self.error += 1,
        }
    }

    /// How many results there are.
    pub fn total(&self) -> usize {
        self.pass
            + self.fail
            + self.warn
            + self.skip
            + self.inconclusive
            + self.known
            + self.known_inconclusive
            + self.error
    }
}
