//! One cause behind many failures, found in their reasons. Pure.

use crate::events::{CheckResult, Verdict};

/// Fewer failures with the same words are no common cause.
const MANY: usize = 3;

/// What calls ended with, as the suite's reasons say it, and the words for it.
const CAUSES: [(&str, &str); 8] = [
    (
        "was answered UNAUTHENTICATED",
        "calls were answered UNAUTHENTICATED; is the token right, and still valid?",
    ),
    (
        "was answered PERMISSION_DENIED",
        "calls were answered PERMISSION_DENIED; may the token do what is asked?",
    ),
    ("was answered UNAVAILABLE", "calls were answered UNAVAILABLE; is the worker behind the target up?"),
    (
        "was answered RESOURCE_EXHAUSTED",
        "calls were answered RESOURCE_EXHAUSTED; is the target busy with others' work?",
    ),
    (
        "was answered UNIMPLEMENTED",
        "calls were answered UNIMPLEMENTED; is this the service, under this name?",
    ),
    ("no connection to", "no connection could be made; is the target still running?"),
    ("lost its connection", "connections were lost; did the target end, or something between?"),
    ("got no answer within", "calls got no answer; is the target busy, or does it hang?"),
];

/// The cause of most failures, in words, and how many it explains.
pub(super) fn common_cause(results: &[CheckResult]) -> Option<(usize, usize, &'static str)> {
    let failed: Vec<_> = results.iter().filter(|r| r.verdict == Verdict::Fail && !r.known).collect();
    let explained = |words: &str| failed.iter().filter(|r| r.reason.contains(words)).count();
    let (count, said) =
        CAUSES.iter().map(|(words, said)| (explained(words), *said)).max_by_key(|(n, _)| *n)?;
    (count >= MANY && count * 2 > failed.len()).then_some((count, failed.len(), said))
}
