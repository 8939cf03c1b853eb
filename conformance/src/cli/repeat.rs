//! Several runs of one plan: which requirements did not end alike, and how the program ends. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use present::text;

use crate::{
    events::CheckResult,
    exit::Exit,
    reports::{Outcome, Run},
};

/// Which requirements did not end alike in all runs, as a Markdown table that is read well on a terminal too.
pub(super) fn flakes(runs: &[Run]) -> String {
    let mut by_id: BTreeMap<&str, Vec<&CheckResult>> = BTreeMap::new();
    for result in runs.iter().flat_map(|run| &run.results) {
        by_id.entry(&result.id).or_default().push(result);
    }
    let flaky: Vec<_> = by_id.into_iter().filter(|(_, results)| outcomes(results).len() > 1).collect();
    let count = runs.len();
    if flaky.is_empty() {
        return format!("Every requirement ended alike in all {count} runs.\n");
    }
    let mut table = format!("Requirements that did not end alike in {count} runs: {}\n\n", flaky.len());
    table.push_str("| id | outcomes | the first that did not pass |\n|---|---|---|\n");
    for (id, results) in flaky {
        let counted: Vec<_> = outcomes(&results).iter().map(|(outcome, n)| outcome.counted(*n)).collect();
        let reason = results.iter().find(|result| !result.reason.is_empty()).map_or("", |r| &r.reason);
        let reason = text::cut(&text::visible(reason), REASON).replace('|', "\\|");
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} | {} | {reason} |", text::visible(id), counted.join(", "));
    }
    table
}

fn outcomes(results: &[&CheckResult]) -> BTreeMap<Outcome, usize> {
    let mut outcomes = BTreeMap::new();
    for result in results {
        *outcomes.entry(Outcome::of(result)).or_default() += 1;
    }
    outcomes
}

/// The worst of two ends: an interruption, then the suite's own fault, then the target's.
pub(super) fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Interrupted => 4,
        Exit::Harness => 3,
        Exit::NonConformant => 2,
        Exit::Success => 0,
        _ => 1,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

const REASON: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Verdict;

    #[test]
    fn only_what_did_not_end_alike_is_in_the_table() {
        let steady = ("WIRE-001", Verdict::Fail, "no");
        let runs = [
            run(&[steady, ("STREAM-001", Verdict::Pass, "")]),
            run(&[steady, ("STREAM-001", Verdict::Fail, "a | came")]),
            run(&[steady, ("STREAM-001", Verdict::Pass, "")]),
        ];
        let table = flakes(&runs);
        assert!(table.starts_with("Requirements that did not end alike in 3 runs: 1\n"), "{table}");
        assert!(table.contains("| STREAM-001 | 1 failed, 2 passed | a \\| came |"), "{table}");
        assert!(!table.contains("WIRE-001"));
        assert_eq!(flakes(&runs[..1]), "Every requirement ended alike in all 1 runs.\n");
    }

    #[test]
    fn the_worst_end_counts() {
        assert_eq!(worse(Exit::Success, Exit::NonConformant), Exit::NonConformant);
        assert_eq!(worse(Exit::NonConformant, Exit::NothingJudged), Exit::NonConformant);
        assert_eq!(worse(Exit::NonConformant, Exit::Harness), Exit::Harness);
    }

    fn run(results: &[(&str, Verdict, &str)]) -> Run {
        let result = |(id, verdict, reason): &(&str, Verdict, &str)| CheckResult::of(id, *verdict, reason);
        Run { results: results.iter().map(result).collect(), ..Run::default() }
    }
}
