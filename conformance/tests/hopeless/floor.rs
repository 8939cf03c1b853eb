//! The floor: servers that do almost nothing fail at least 95 % of what is asked of them, soon, without a hang. Those that say
//! something right now and then pass no more than that.

use std::time::{Duration, Instant};

use conformance::{events::Verdict, vocabulary::Profile};
use exemplar::trivial::Trivial;
use tokio::task::JoinSet;

use crate::common;

const FLOOR: f64 = 0.95;
/// What holds of an answer that is always the same: its shape, and that nothing makes it another.
const REPLAYED: [&str; 16] = [
    "STREAM-001",
    "STREAM-002",
    "STREAM-004",
    "STREAM-005",
    "STREAM-006",
    "STREAM-008",
    "STREAM-012",
    "SAMPLING-001",
    "SAMPLING-003",
    "CONCURRENCY-002",
    "CONCURRENCY-010",
    "CONCURRENCY-011",
    "TRANSPORT-002",
    "TRANSPORT-008",
    "AUTH-003",
    "ERROR-010",
];
/// What one call on a connection shows.
const IN_ONE_CALL: [&str; 16] = [
    "WIRE-001",
    "WIRE-003",
    "WIRE-004",
    "HEALTH-001",
    "HEALTH-002",
    "HEALTH-003",
    "HEALTH-004",
    "HEALTH-006",
    "CONTROL-003",
    "STREAM-004",
    "STREAM-005",
    "STREAM-006",
    "STREAM-013",
    "TRANSPORT-008",
    "AUTH-003",
    "ERROR-010",
];
/// The time to any one verdict.
const LIMIT: Duration = Duration::from_secs(30);
/// The time to a whole run, also against a target that leaves every other call hanging.
const RUN_LIMIT: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_do_almost_nothing_fail() {
    let passing = Trivial::ALL.into_iter().map(fails).collect::<JoinSet<_>>().join_all().await;
    let passing: Vec<_> = passing.into_iter().flatten().collect();
    assert!(passing.is_empty(), "{}", passing.join("\n"));
}

/// What is wrong with how one was judged.
async fn fails(trivial: Trivial) -> Option<String> {
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
    let slowest = results.iter().max_by_key(|r| r.duration_ms).expect("there are results");
    let verdict = Duration::from_millis(slowest.duration_ms);
    assert!(verdict < LIMIT, "{} kept {} busy for {verdict:?}", trivial.name(), slowest.id);
    assert!(took < RUN_LIMIT, "{} took {took:?}", trivial.name());
    let may_pass: Option<&[&str]> = match trivial {
        Trivial::Replays => Some(&REPLAYED),
        Trivial::FirstCallOnly => Some(&IN_ONE_CALL),
        _ => None,
    };
    let enough = match may_pass {
        Some(ids) => results.iter().all(|r| r.verdict != Verdict::Pass || ids.contains(&r.id.as_str())),
        None => failed as f64 >= FLOOR * asked as f64,
    };
    (!enough).then(|| format!("{} passes too much:\n{}", trivial.name(), others.join("\n")))
}
