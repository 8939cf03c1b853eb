//! The exemplar keeps every requirement: a check that blames it is wrong.

mod common;

use std::sync::Arc;

use conformance::events::Verdict;
use exemplar::Conformant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exemplar_passes_everything() {
    let results = common::judge(Arc::new(Conformant)).await;
    let blamed: Vec<_> = results
        .iter()
        .filter(|r| r.verdict != Verdict::Pass)
        .map(|r| format!("{} {:?}: {}", r.id, r.verdict, r.reason))
        .collect();
    assert!(blamed.is_empty(), "the exemplar was not passed:\n{}", blamed.join("\n"));
}
