//! What makes a comparison invalid: ratios of sides that were not measured, or that do not do the same work, say nothing.

use std::collections::BTreeMap;

use super::{
    compare::Pair,
    record::{Recording, RequestRecord},
    report,
};

/// Why the blocks must not be compared: a run that is no measurement, or two sides that do not do the same work.
pub(super) fn faults(pairs: &[Pair], texts_may_differ: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        for (side, recording) in [("baseline", &pair.baseline), ("candidate", &pair.candidate)] {
            let invalid = report::faults(&recording.requests);
            faults.extend(invalid.iter().map(|why| format!("block {}, {side}: {why}", number + 1)));
        }
    }
    let (baseline, candidate) = (texts(pairs, |pair| &pair.baseline), texts(pairs, |pair| &pair.candidate));
    let both: Vec<_> = baseline.iter().filter_map(|(prompt, a)| Some((a, candidate.get(prompt)?))).collect();
    let other_text = both.iter().filter(|(a, b)| a.0 != b.0).count();
    let other_length = both.iter().filter(|(a, b)| a.1 != b.1).count();
    if other_length > 0 && other_text == 0 {
        faults.push(format!("{other_length} of {} answers came in another number of chunks", both.len()));
    }
    if other_text > 0 && !texts_may_differ {
        faults.push(format!(
            "{other_text} of {} prompts were answered with another text, though all are greedy: the sides do not do the \
             same work (--texts-may-differ if that is meant)",
            both.len()
        ));
    }
    faults
}

/// What one side said to each prompt, and in how many chunks, the first time.
fn texts(pairs: &[Pair], side: impl Fn(&Pair) -> &Recording) -> BTreeMap<u32, (u64, usize)> {
    let mut texts = BTreeMap::new();
    let complete = |request: &&RequestRecord| request.is_complete();
    for request in pairs.iter().flat_map(|pair| &side(pair).requests).filter(complete) {
        texts.entry(request.prompt).or_insert((request.text, request.chunks.len()));
    }
    texts
}
