//! The floor: servers that do almost nothing fail at least 95 % of what is asked of them, soon, without a hang.

use std::time::{Duration, Instant};

use conformance::{events::Verdict, vocabulary::Profile};
use exemplar::trivial::Trivial;
use tokio::task::JoinSet;

use crate::common;

const FLOOR: f64 = 0.95;
/// The time to any one verdict.
const LIMIT: Duration = Duration::from_secs(30);
/// The time to a whole run, also against a target that leaves every other call hanging.
const RUN_LIMIT: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_do_almost_nothing_fail() {
    Trivial::ALL.into_iter().map(fails).collect::<JoinSet<_>>().join_all().await;
}

async fn fails(trivial: Trivial) {
    let running = trivial.serve("127.0.0.1", 0).await.expect("a loopback port");
    let began = Instant::now();
    let results = common::judge_address(&running.address, Profile::Full).await;
    let took = began.elapsed();
    let asked = results.iter().filter(|r| r.verdict != Verdict::Skip).count();
    let failed = results.iter().filter(|r| r.verdict == Verdict::Fail).count();
    let others: Vec<_> = results
        .iter()
        .filter(|r| r.verdict != Verdict::Fail)
        .map(|r| format!("{} {:?} {}", r.id, r.verdict, r.reason))
        .collect();
    println!("{:<16} {failed} of {asked} failed in {took:.1?}", trivial.name());
    assert!(
        failed as f64 >= FLOOR * asked as f64,
        "{} passes too much:\n{}",
        trivial.name(),
        others.join("\n")
    );
    let slowest = results.iter().max_by_key(|r| r.duration_ms).expect("there are results");
    let verdict = Duration::from_millis(slowest.duration_ms);
    assert!(verdict < LIMIT, "{} kept {} busy for {verdict:?}", trivial.name(), slowest.id);
    assert!(took < RUN_LIMIT, "{} took {took:?}", trivial.name());
}
