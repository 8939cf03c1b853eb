//! Runs one requirement's check and turns its end into a result.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    events::{CheckResult, Verdict},
    probe::{Endpoint, Probe},
    requirement::Requirement,
    verdict::{Judgement, NotPassed},
};

/// A check that found nothing in so many times the patience has a target that keeps it busy for ever.
const CHECK_LIMIT: u32 = 8;
/// A check's time, however quick the target is.
const LEAST_CHECK_LIMIT: Duration = Duration::from_secs(20);
/// After so many second attempts in vain the target's silence is no accident, and nobody waits for more.
const HOPELESS: usize = 3;
/// The second attempt's patience, as a multiple of the first's.
const MORE_PATIENCE: u32 = 3;

/// What an executor needs to know besides the requirement.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) seed: u64,
    pub(super) silent: bool,
    /// The target describes its schema by reflection.
    pub(super) reflected: bool,
    /// Second attempts so far that waited in vain like the first.
    pub(super) vain: Arc<AtomicUsize>,
    /// The command line that reaches the same target, without `--only`.
    pub(super) command: String,
}

/// Runs a check to its verdict.
///
/// A failure of a talking target in which something was waited for in vain is tried once more with three times the
/// patience: one slow answer is the machine's, two are the target's.
pub(super) async fn execute(requirement: &'static Requirement, bench: &Bench) -> CheckResult {
    let began = std::time::Instant::now();
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut result, waited) = attempt(requirement, bench, &bench.endpoint).await;
    let hopeless = bench.silent || bench.vain.load(Ordering::Relaxed) >= HOPELESS;
    if result.verdict == Verdict::Fail && waited && !hopeless {
        let mut patient = Endpoint::clone(&bench.endpoint);
        patient.patience *= MORE_PATIENCE;
        (result, _) = attempt(requirement, bench, &Arc::new(patient)).await;
        result.attempts = 2;
        if result.verdict == Verdict::Fail {
            bench.vain.fetch_add(1, Ordering::Relaxed);
        }
    }
    result.started_at_ms = u64::try_from(started_at.as_millis()).unwrap_or(u64::MAX);
    result.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    result
}

/// One run of the check, and whether it waited for anything in vain.
async fn attempt(
    requirement: &'static Requirement,
    bench: &Bench,
    endpoint: &Arc<Endpoint>,
) -> (CheckResult, bool) {
    let probe = Arc::new(Probe::new(Arc::clone(endpoint), seed_of(bench.seed, requirement.id)));
    let judgement = judge(requirement, bench, &probe).await;
    let (verdict, reason) = match judgement {
        Ok(()) if probe.exercised() == 0 => {
            (Verdict::Inconclusive, "the check made no assertion: it saw nothing".to_owned())
        }
        Ok(()) => (Verdict::Pass, String::new()),
        Err(NotPassed::Fail(why)) => (Verdict::Fail, why),
        Err(NotPassed::Skip(why)) => (Verdict::Skip, why),
        Err(NotPassed::Inconclusive(why)) => (Verdict::Inconclusive, why),
        Err(NotPassed::Harness(why)) => (Verdict::Error, why),
    };
    let (evidence, evidence_omitted) = probe.evidence();
    let grpcurl = probe.grpcurl(&reason, bench.reflected).unwrap_or_default();
    let result = CheckResult {
        id: requirement.id.to_owned(),
        level: requirement.level,
        role: requirement.role,
        title: requirement.title.to_owned(),
        requirement: requirement.sentence(),
        verdict,
        known: false,
        known_because: String::new(),
        reason,
        evidence,
        evidence_omitted,
        exercised: probe.exercised(),
        started_at_ms: 0,
        duration_ms: 0,
        attempts: 1,
        rerun: format!("{} --only {} --seed {}", bench.command, requirement.id, bench.seed),
        grpcurl,
        trace: probe.trace(),
    };
    (result, probe.waited())
}

async fn judge(requirement: &'static Requirement, bench: &Bench, probe: &Arc<Probe>) -> Judgement {
    if !requirement.dialects.contains(&bench.endpoint.dialect) {
        return Err(NotPassed::Skip(format!(
            "it cannot be seen in the dialect {}, which this run speaks",
            bench.endpoint.dialect
        )));
    }
    let checking = Arc::clone(probe);
    // In a task of its own, so that a panic in a check is the suite's error and not the end of the run.
    let task = tokio::spawn(async move { AssertUnwindSafe((requirement.check)(&checking)).0.await });
    let abort = task.abort_handle();
    let limit = (probe.patience() * CHECK_LIMIT).max(LEAST_CHECK_LIMIT);
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(judgement)) => judgement,
        Ok(Err(panic)) => Err(NotPassed::Harness(format!("the check itself broke: {panic}"))),
        Err(_) => {
            abort.abort();
            Err(NotPassed::Fail(format!(
                "the target kept the check busy for {CHECK_LIMIT:?} without an end in sight"
            )))
        }
    }
}

/// Each check draws from its own stream of random numbers, so that running it alone draws the same.
fn seed_of(seed: u64, id: &str) -> u64 {
    wire::fnv(seed ^ wire::FNV_OFFSET, id.as_bytes())
}
