//! Which exchanges of a check its verdict is about. Pure.
//!
//! A check may have opened many calls, and what it did last is often no more than tidying up. The verdict's reason quotes
//! what came: trace ids, texts, status codes. The calls in which these occur are shown, shortened in the middle.

use std::collections::BTreeSet;

use crate::events::CheckResult;

/// The positions in `evidence` of at most `limit` exchanges, in order.
pub(super) fn decisive(result: &CheckResult, limit: usize) -> Vec<usize> {
    let evidence = &result.evidence;
    let marks = marks(&result.reason);
    let holds = |at: &usize| marks.iter().any(|mark| evidence[*at].what.contains(mark.as_str()));
    let hits: Vec<usize> = (0..evidence.len()).filter(holds).collect();
    let calls: BTreeSet<u32> = match hits.as_slice() {
        // Nothing is quoted: the last call that the check made is the one that it judged.
        [] => evidence.iter().map(|exchange| exchange.call).max().into_iter().collect(),
        hits => hits.iter().rev().map(|at| evidence[*at].call).fold(BTreeSet::new(), |mut calls, call| {
            if calls.len() < CALLS {
                calls.insert(call);
            }
            calls
        }),
    };
    // What happened to the connection concerns every call on it.
    let of_calls = |at: &usize| calls.contains(&evidence[*at].call) || evidence[*at].call == 0;
    let candidates: Vec<usize> = (0..evidence.len()).filter(of_calls).collect();
    if candidates.len() <= limit {
        return candidates;
    }
    let mut kept: BTreeSet<usize> = candidates.iter().copied().take(AT_START.min(limit)).collect();
    let last_hits = candidates.iter().rev().filter(|at| hits.contains(at)).take(limit / 2);
    let last = candidates.iter().rev();
    for at in last_hits.chain(last) {
        if kept.len() < limit {
            kept.insert(*at);
        }
    }
    kept.into_iter().collect()
}

/// What a reason quotes: texts in quotation marks, and status codes.
fn marks(reason: &str) -> Vec<String> {
    let quoted = reason.split('"').skip(1).step_by(2);
    let quoted = quoted.filter(|text| text.chars().count() >= QUOTED).map(str::to_owned);
    let code = |word: &&str| word.len() >= CODE && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let words = reason.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    quoted.chain(words.filter(code).map(str::to_owned)).collect()
}

/// Calls shown, counted from the last one that the reason quotes.
const CALLS: usize = 3;
/// Exchanges kept from the start of the shown calls: what was asked.
const AT_START: usize = 3;
/// Shorter quotations, and shorter words in capitals, are everywhere.
const QUOTED: usize = 4;
const CODE: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Verdict,
        evidence::{Direction, Exchange},
    };

    #[test]
    fn the_call_that_the_reason_quotes_is_shown_and_not_the_last_one() {
        let mut exchanges = vec![(0, "connect"), (1, "request \"alpha-7\""), (2, "request \"beta-8\"")];
        exchanges.extend([(1, "response \"alpha-7\" index 3"), (2, "OK"), (3, "Health"), (3, "OK")]);
        let result = result("response 1 carries the trace_id \"alpha-7\", index 3", &exchanges);
        assert_eq!(decisive(&result, 12), [0, 1, 3]);
    }

    #[test]
    fn without_a_quotation_the_last_call_is_shown() {
        let result =
            result("requests_inflight is still 3", &[(1, "request"), (1, "OK"), (2, "Health"), (2, "OK")]);
        assert_eq!(decisive(&result, 12), [2, 3]);
    }

    #[test]
    fn a_long_call_keeps_its_start_its_quoted_middle_and_its_end() {
        let mut exchanges = vec![(1, "response"); 40];
        exchanges[20] = (1, "RESOURCE_EXHAUSTED");
        let result = result("it was answered RESOURCE_EXHAUSTED in the middle", &exchanges);
        assert_eq!(decisive(&result, 6), [0, 1, 2, 20, 38, 39]);
        assert!(decisive(&result, 1).len() == 1);
    }

    fn result(reason: &str, exchanges: &[(u32, &str)]) -> CheckResult {
        let exchange = |(call, what): &(u32, &str)| Exchange {
            at_ms: 0.0,
            call: *call,
            direction: Direction::Received,
            what: (*what).to_owned(),
        };
        CheckResult {
            evidence: exchanges.iter().map(exchange).collect(),
            ..CheckResult::of("A-001", Verdict::Fail, reason)
        }
    }
}
