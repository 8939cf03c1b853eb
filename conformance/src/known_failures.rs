//! The known failures of one target: a reviewed list of requirements that fail, or that cannot be judged, with reasons.
//!
//! A listed requirement that passes is stale, and makes the run red. Talks to: [`crate::events`], whose results it
//! marks, and the list of requirements, for ids. Reads one file; writes the text of a new one, for a person to complete.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    events::{CheckResult, Verdict},
    requirements::ALL,
};

/// The known failures of one target, by requirement.
#[derive(Clone, Debug, Default)]
pub struct KnownFailures {
    entries: BTreeMap<String, Entry>,
}

/// One entry of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Words that the result's reason contains: another fault of the same requirement is not known.
    reason: String,
    /// Why it is tolerated. For people; an entry without it is refused.
    why: String,
    /// When the failure became known, such as `2026-11`.
    since: String,
}

/// A file that is not a list of known failures.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the known failures in {file}: {why}")]
pub struct BadKnownFailures {
    file: String,
    why: String,
}

impl KnownFailures {
    /// Reads a TOML file: a table per requirement id, with `reason`, `why` and `since`.
    pub fn read(path: &Path) -> Result<Self, BadKnownFailures> {
        let bad = |why: String| BadKnownFailures { file: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        text.parse().map_err(bad)
    }

    /// Marks a result that the list explains. A failure for another reason stays a failure.
    ///
    /// An inconclusive result is known where it is listed itself, or where its reason names a listed requirement: the
    /// check could not see because of a failure that is known.
    pub fn mark(&self, result: &mut CheckResult) {
        let listed = self.entries.get(&result.id);
        let because = match result.verdict {
            Verdict::Pass => listed.map(|entry| entry.why.clone()),
            Verdict::Fail => self.explained(result),
            Verdict::Inconclusive => self.explained(result).or_else(|| self.follows(result)),
            Verdict::Skip | Verdict::Error => None,
        };
        result.known = because.is_some();
        result.known_because = because.unwrap_or_default();
    }

    fn explained(&self, result: &CheckResult) -> Option<String> {
        let entry = self.entries.get(&result.id)?;
        result.reason.contains(&entry.reason).then(|| entry.why.clone())
    }

    /// The known failure that an inconclusive result names as its cause.
    fn follows(&self, result: &CheckResult) -> Option<String> {
        let named = |id: &&String| **id != result.id && names(&result.reason, id);
        let (cause, entry) = self.entries.iter().find(|(id, _)| named(id))?;
        Some(format!("it follows from the known failure of {cause}: {}", entry.why))
    }

    /// The text of a list with everything that these results lack. `why` is left empty: a list is used only after a
    /// person has written there why each failure is tolerated.
    pub fn template(results: &[CheckResult], since: &str) -> Result<String, toml::ser::Error> {
        let lacking = |r: &&CheckResult| matches!(r.verdict, Verdict::Fail | Verdict::Inconclusive);
        let entry = |r: &CheckResult| {
            let entry = Entry { reason: r.reason.clone(), why: String::new(), since: since.to_owned() };
            (r.id.clone(), entry)
        };
        let entries: BTreeMap<_, _> = results.iter().filter(lacking).map(entry).collect();
        Ok(HEAD.to_owned() + &toml::to_string(&entries)?)
    }
}

impl std::str::FromStr for KnownFailures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries: BTreeMap<String, Entry> = toml::from_str(text).map_err(|e| e.to_string())?;
        for (id, entry) in &entries {
            if !ALL.iter().any(|r| r.id == id) {
                return Err(format!("there is no requirement {id}"));
            }
            for (field, value) in [("reason", &entry.reason), ("why", &entry.why), ("since", &entry.since)] {
                if value.trim().is_empty() {
                    return Err(format!("[{id}] needs a `{field}` that is not empty"));
                }
            }
        }
        Ok(Self { entries })
    }
}

/// Whether `text` holds `id` as a word of its own.
fn names(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(at, _)| {
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '-');
        apart(text[..at].chars().next_back()) && apart(text[at + id.len()..].chars().next())
    })
}

const HEAD: &str = "\
# Known failures of one target, for `conformance run --known-failures`.
# `reason`: words that the result's reason contains; shorten it to the words that name the fault.
# `why`: why the failure is tolerated. An entry without it is refused.
";

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "reason = \"UNIMPLEMENTED\"\nwhy = \"not yet\"\nsince = \"2026-11\"";

    #[test]
    fn an_entry_needs_a_requirement_that_exists_and_all_its_words() {
        assert!(format!("[WIRE-001]\n{ENTRY}").parse::<KnownFailures>().is_ok());
        let unknown = format!("[WIRE-999]\n{ENTRY}").parse::<KnownFailures>().unwrap_err();
        assert!(unknown.contains("WIRE-999"));
        let empty =
            "[WIRE-001]\nreason = \"x\"\nwhy = \"\"\nsince = \"y\"".parse::<KnownFailures>().unwrap_err();
        assert!(empty.contains("`why`"), "{empty}");
        assert!("[WIRE-001]\nreason = \"x\"".parse::<KnownFailures>().is_err());
    }

    #[test]
    fn an_inconclusive_result_is_known_where_it_is_listed_or_follows_from_what_is_listed() {
        let known: KnownFailures = format!("[STREAM-001]\n{ENTRY}\n[WIRE-007]\n{ENTRY}").parse().unwrap();
        let marked = |id, verdict, reason| {
            let mut result = result(id, verdict, reason);
            known.mark(&mut result);
            (result.known, result.known_because)
        };
        let listed = marked("WIRE-007", Verdict::Inconclusive, "the code was UNIMPLEMENTED");
        assert_eq!(listed, (true, "not yet".to_owned()));
        let follows = marked("STREAM-005", Verdict::Inconclusive, "no last message came (STREAM-001)");
        assert_eq!(follows, (true, "it follows from the known failure of STREAM-001: not yet".to_owned()));
        for (id, verdict, reason) in [
            ("STREAM-005", Verdict::Inconclusive, "no last message came"),
            ("STREAM-005", Verdict::Inconclusive, "a trace id XSTREAM-001 came"),
            ("STREAM-005", Verdict::Fail, "no last message came (STREAM-001)"),
            ("WIRE-007", Verdict::Fail, "the call hung"),
        ] {
            assert!(!marked(id, verdict, reason).0, "{id} {reason}");
        }
    }

    #[test]
    fn a_written_list_is_read_again_once_a_person_has_said_why() {
        let results = [
            result("WIRE-007", Verdict::Fail, "it said \"no\"\nand hung up"),
            result("STREAM-005", Verdict::Inconclusive, "nothing came"),
            result("HEALTH-001", Verdict::Pass, ""),
        ];
        let written = KnownFailures::template(&results, "2026-11-26").unwrap();
        assert!(written.parse::<KnownFailures>().unwrap_err().contains("`why`"));
        let complete: KnownFailures = written.replace("why = \"\"", "why = \"not yet\"").parse().unwrap();
        for mut result in results {
            complete.mark(&mut result);
            assert_eq!(result.known, result.verdict != Verdict::Pass, "{}", result.id);
        }
    }

    fn result(id: &str, verdict: Verdict, reason: &str) -> CheckResult {
        CheckResult::of(id, verdict, reason)
    }
}
