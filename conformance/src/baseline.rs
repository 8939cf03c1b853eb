//! Known failures of one target: a reviewed list, each with its reason. What is listed and passes is stale, and red.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{
    events::{CheckResult, Verdict},
    requirements::ALL,
};

/// The known failures of one target, by requirement.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    known: BTreeMap<String, Known>,
}

/// One entry of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Words that the failure's reason contains: another fault of the same requirement is not known.
    reason: String,
    /// Why it is tolerated. For people; an entry without it is refused.
    why: String,
    /// Since when.
    since: String,
}

/// Why a file is no list of known failures.
#[derive(Debug, thiserror::Error)]
#[error("{file} is no list of known failures: {why}")]
pub struct BadBaseline {
    file: String,
    why: String,
}

impl Baseline {
    /// Reads a TOML file: a table per requirement id, with `reason`, `why` and `since`.
    pub fn read(path: &Path) -> Result<Self, BadBaseline> {
        let bad = |why: String| BadBaseline { file: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        Self::parse(&text).map_err(bad)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let known: BTreeMap<String, Known> = toml::from_str(text).map_err(|e| e.to_string())?;
        for (id, entry) in &known {
            if !ALL.iter().any(|r| r.id == id) {
                return Err(format!("there is no requirement {id}"));
            }
            if [&entry.reason, &entry.why, &entry.since].iter().any(|s| s.trim().is_empty()) {
                return Err(format!("{id} needs a reason, a why and a since"));
            }
        }
        Ok(Self { known })
    }

    /// Marks a result that the list speaks of. A failure for another reason stays a failure.
    pub fn mark(&self, result: &mut CheckResult) {
        let Some(entry) = self.known.get(&result.id) else { return };
        result.known = match result.verdict {
            Verdict::Fail => result.reason.contains(&entry.reason),
            Verdict::Pass => true, // stale
            Verdict::Skip | Verdict::Inconclusive | Verdict::Error => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_needs_a_requirement_that_exists_and_all_its_words() {
        let entry = "reason = \"UNIMPLEMENTED\"\nwhy = \"not yet\"\nsince = \"2026-11\"";
        assert!(Baseline::parse(&format!("[WIRE-001]\n{entry}")).is_ok());
        assert!(Baseline::parse(&format!("[WIRE-999]\n{entry}")).unwrap_err().contains("WIRE-999"));
        assert!(Baseline::parse("[WIRE-001]\nreason = \"x\"\nwhy = \"\"\nsince = \"y\"").is_err());
        assert!(Baseline::parse("[WIRE-001]\nreason = \"x\"").is_err());
    }
}
