//! Sneaky mutants: faults that hide from a check that looks once, alone or in one order. Each is seen by the check
//! whose sentence it breaks, for the right reason, and the checks beside it are not misled; and servers that are merely
//! unlike others are not blamed.

mod answers;
mod behaviours;
#[path = "../common/mod.rs"]
mod common;
mod crowds;
mod framing;
mod parameters;
mod prompts;
mod slots;
mod streams;
mod wire;

use std::sync::Arc;

use conformance::{
    events::{CheckResult, Verdict},
    exemplar::Behaviour,
};
use tokio::task::JoinSet;

/// Mutants at a time.
const WIDTH: usize = 6;

/// One fault, or one freedom that looks like a fault.
struct Sneaky {
    /// Name of the case, written as `ID/name`.
    name: &'static str,
    behaviour: fn() -> Arc<dyn Behaviour>,
    /// What its own check must say.
    verdict: Verdict,
    /// Words of the reason.
    reason: &'static str,
    /// Checks that must not blame it.
    beside: &'static [&'static str],
}

impl Sneaky {
    fn id(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(id, _)| id)
    }

    /// What is wrong with the verdicts, if anything is.
    fn misjudged(&self, results: &[CheckResult]) -> Option<String> {
        let mut wrong = Vec::new();
        for result in results {
            let right = if result.id == self.id() {
                result.verdict == self.verdict && result.reason.contains(self.reason)
            } else {
                result.verdict == Verdict::Pass
            };
            if !right {
                wrong.push(format!("{} {:?} {:?}", result.id, result.verdict, result.reason));
            }
        }
        (!wrong.is_empty()).then(|| {
            format!("{}: wanted {:?} {:?}, got {}", self.name, self.verdict, self.reason, wrong.join("; "))
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sneaky_mutant_is_seen_for_the_right_reason() {
    let only = std::env::var("MUTANT").unwrap_or_default();
    let mut waiting = tables().into_iter().filter(|s| s.name.starts_with(&only));
    let (mut running, mut disturbed, mut wrong) = (JoinSet::new(), Vec::new(), Vec::new());
    loop {
        while running.len() < WIDTH
            && let Some(sneaky) = waiting.next()
        {
            running.spawn(async move { (sneaky, judged(sneaky).await) });
        }
        let Some(done) = running.join_next().await else { break };
        if let (sneaky, Some(_)) = done.expect("the suite does not panic") {
            disturbed.push(sneaky);
        }
    }
    // Two dozen servers in one process disturb each other's clocks: what is misjudged beside others is judged again alone.
    for sneaky in disturbed {
        wrong.extend(judged(sneaky).await);
    }
    assert!(wrong.is_empty(), "misjudged:\n{}", wrong.join("\n"));
}

/// What is wrong with the verdicts on this mutant, if anything is.
async fn judged(sneaky: &'static Sneaky) -> Option<String> {
    let began = std::time::Instant::now();
    let asked = [&[sneaky.id()], sneaky.beside].concat();
    let results = common::judge_only((sneaky.behaviour)(), &asked).await;
    if std::env::var("MUTANT").is_ok() {
        let own = results.iter().find(|r| r.id == sneaky.id()).map_or("", |r| &r.reason);
        eprintln!("{} in {:.1?}: {own}", sneaky.name, began.elapsed());
    }
    sneaky.misjudged(&results)
}

fn tables() -> Vec<&'static Sneaky> {
    let tables = [
        prompts::ALL,
        wire::ALL,
        framing::ALL,
        parameters::ALL,
        streams::ALL,
        slots::ALL,
        crowds::ALL,
        answers::ALL,
    ];
    tables.into_iter().flatten().collect()
}

/// Two slots, 8 ms a token, no stop on cancel, no counter: the cancel is named and nothing else is blamed, soon enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute; the rows above are its parts"]
async fn a_server_that_never_stops_is_blamed_for_that_alone() {
    let runs = std::env::var("RUNS").map_or(1, |runs| runs.parse().expect("a number"));
    for run in 0..runs {
        let began = std::time::Instant::now();
        let results = common::judge_side_by_side(slots::never_stops()).await;
        let took = began.elapsed();
        let blamed: Vec<_> = results
            .iter()
            .filter(|r| !matches!(r.verdict, Verdict::Pass | Verdict::Skip))
            .map(|r| format!("{} {:?} {}", r.id, r.verdict, r.reason))
            .collect();
        let mut slow: Vec<_> = results.iter().map(|r| (r.duration_ms, r.id.clone())).collect();
        slow.sort_unstable_by(|a, b| b.cmp(a));
        eprintln!("run {run} in {took:.1?}: {blamed:?} {:?}", &slow[..8]);
        assert!(blamed.len() == 1 && blamed[0].contains("after a cancel the work went on"), "{blamed:?}");
    }
}
