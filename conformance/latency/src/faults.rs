//! What makes a comparison invalid: ratios of sides that were not measured, or that do not do the same work, say nothing.

use std::collections::{BTreeMap, BTreeSet};

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
    let other_text = both.iter().filter(|(a, b)| a != b).count();
    if other_text > 0 && !texts_may_differ {
        faults.push(format!(
            "{other_text} of {} prompts were answered with another text, though all are greedy: the sides do not do the \
             same work (--texts-may-differ if that is meant)",
            both.len()
        ));
    }
    faults
}

/// How many texts came in different numbers of chunks, of all: a server may merge tokens into chunks as it likes. Then a
/// chunk is not one token, and the time from a chunk to the next is no figure of the server's speed.
pub(super) fn merged(pairs: &[Pair]) -> (usize, usize) {
    let mut counts: BTreeMap<(u32, u64), BTreeSet<usize>> = BTreeMap::new();
    let requests =
        pairs.iter().flat_map(|pair| pair.baseline.requests.iter().chain(&pair.candidate.requests));
    for request in requests.filter(|request| request.is_complete()) {
        counts.entry((request.prompt, request.text)).or_default().insert(request.chunks.len());
    }
    (counts.values().filter(|counts| counts.len() > 1).count(), counts.len())
}

/// What one side said to each prompt, the first time.
fn texts(pairs: &[Pair], side: impl Fn(&Pair) -> &Recording) -> BTreeMap<u32, u64> {
    let mut texts = BTreeMap::new();
    let complete = |request: &&RequestRecord| request.is_complete();
    for request in pairs.iter().flat_map(|pair| &side(pair).requests).filter(complete) {
        texts.entry(request.prompt).or_insert(request.text);
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{Comparison, Conclusion, can_be_seen, goals},
        metrics::Metric,
        record::{Outcome, Setup},
    };

    /// One answer of each side, in so many chunks.
    fn pair(baseline: u64, candidate: u64, text: u64) -> Pair {
        let side = |chunks, text| {
            let chunks = (1..=chunks).map(|n| n * 1_000_000).collect();
            let request = RequestRecord { chunks, text, ..RequestRecord::new(0, 0, Outcome::Complete) };
            Recording { setup: Setup::default(), requests: vec![request] }
        };
        Pair { baseline: side(baseline, 1), candidate: side(candidate, text) }
    }

    fn compared(pairs: &[Pair]) -> Vec<Metric> {
        let goals = goals(0.04, 0.05);
        goals.iter().filter(|goal| can_be_seen(goal, pairs)).map(|goal| goal.metric).collect()
    }

    #[test]
    fn merged_tokens_leave_the_first_token_and_the_whole_to_be_compared() {
        let pairs = [pair(8, 8, 1), pair(8, 5, 1)];
        assert_eq!(merged(&pairs), (1, 1));
        assert!(faults(&pairs, false).is_empty(), "{:?}", faults(&pairs, false));
        assert_eq!(compared(&pairs), [Metric::Ttft, Metric::E2e]);
        let comparison = Comparison::unjudged(&pairs, false);
        assert_eq!(comparison.conclusion, Conclusion::Inconclusive);
        assert!(
            comparison.notes[0].starts_with("tpot is not compared: 1 of 1 texts"),
            "{:?}",
            comparison.notes
        );
        assert_eq!(compared(&[pair(8, 8, 1)]), [Metric::Ttft, Metric::Tpot, Metric::E2e]);
    }

    #[test]
    fn another_text_is_a_fault_and_no_merging() {
        let pairs = [pair(8, 5, 2)];
        assert_eq!(merged(&pairs), (0, 2));
        assert!(faults(&pairs, false)[0].contains("another text"));
    }
}
