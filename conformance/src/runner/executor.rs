//! Runs one requirement's check and turns its end into a result.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wire::time;

use crate::{
    events::{CheckResult, Verdict},
    probe::{Endpoint, Heard, Probe, shortened},
    requirement::Requirement,
    verdict::{Judgement, NotPassed},
};

/// After so many checks that waited in vain the target's silence is no accident, and later checks get no second try.
const HOPELESS: usize = 3;
/// The second attempt's patience, as a multiple of the first's.
const MORE_PATIENCE: u32 = 3;
/// A check's time where it is slow by its nature, or starts the target anew.
const SLOW_LIMIT: Duration = Duration::from_mins(2);
/// Characters of a reason.
const LONGEST_REASON: usize = 2_000;

/// Which kinds of checks a run asks (contract, section 13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Also those that need more than ten seconds.
    pub slow: bool,
    /// None that loads, floods, unloads or restarts the target.
    pub safe: bool,
}

/// What an executor needs to know besides the requirement.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) seed: u64,
    /// The target describes its schema by reflection.
    pub(super) reflected: bool,
    /// Nothing is tried twice: the target says nothing at all, or never ends.
    pub(super) hopeless: bool,
    /// How long a check may take.
    pub(super) limit: Duration,
    /// Longer than the longest limit is what the checks would need on so slow a target.
    pub(super) too_slow: bool,
    /// Checks so far that waited in vain at each attempt.
    pub(super) vain: Arc<AtomicUsize>,
    /// What the target tells all checks.
    pub(super) heard: Heard,
    /// Which kinds of checks are asked.
    pub(super) kinds: Kinds,
    /// The command line that reaches the same target, without `--only`.
    pub(super) command: String,
}

impl Bench {
    /// How long a check may take.
    fn limit_of(&self, requirement: &Requirement) -> Duration {
        if (requirement.slow || requirement.stops_the_target()) && !self.hopeless {
            self.limit.max(SLOW_LIMIT)
        } else {
            self.limit
        }
    }
}

/// A check's result, and what the runner must know of how it came about.
pub(super) struct Ran {
    pub(super) result: CheckResult,
    /// A connection was lost, or none could be made.
    pub(super) lost: bool,
    /// It failed where it waited for something in vain.
    pub(super) vain: bool,
}

/// Runs a check to its verdict, alone or beside others.
///
/// A failure of a talking target in which something was waited for in vain is tried once more with three times the
/// patience: one slow answer is the machine's, two are the target's.
pub(super) async fn execute(requirement: &'static Requirement, bench: &Bench, beside: bool) -> Ran {
    let began = std::time::Instant::now();
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut endpoint = Endpoint::clone(&bench.endpoint);
    if beside && requirement.stops_the_target() {
        // Alone it is started in the place of the one that the run began with.
        let several = endpoint.instances.as_ref().filter(|instances| instances.can_be_apart());
        let apart = several.and_then(|instances| instances.apart().ok());
        endpoint.instances = apart.map(Arc::new).or(endpoint.instances);
    }
    let endpoint = Arc::new(endpoint);
    let Attempt { mut ran, waited, cut } = attempt(requirement, bench, &endpoint).await;
    let hopeless = bench.hopeless || bench.vain.load(Ordering::Relaxed) >= HOPELESS;
    if ran.result.verdict == Verdict::Fail && waited && !cut && !hopeless {
        let mut patient = Endpoint::clone(&endpoint);
        patient.patience *= MORE_PATIENCE;
        let second = attempt(requirement, bench, &Arc::new(patient)).await;
        // What is still wrong after the first attempt may leave the second one without an end; the first one's words say more.
        if !second.cut {
            ran = second.ran;
        }
        ran.result.attempts = 2;
        if ran.result.verdict == Verdict::Fail {
            bench.vain.fetch_add(1, Ordering::Relaxed);
        }
    }
    ran.vain = waited && ran.result.verdict == Verdict::Fail;
    ran.result.started_at_ms = u64::try_from(started_at.as_millis()).unwrap_or(u64::MAX);
    ran.result.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    ran
}

/// The result of a check whose task broke outside the check.
pub(super) fn broken(requirement: &'static Requirement, bench: &Bench, why: &str) -> CheckResult {
    let probe = Probe::new(Arc::clone(&bench.endpoint), bench.seed);
    result(requirement, bench, &probe, Err(NotPassed::Harness(format!("the suite itself broke: {why}"))))
}

/// One run of the check.
struct Attempt {
    ran: Ran,
    /// It waited for something in vain.
    waited: bool,
    /// It ran into its limit.
    cut: bool,
}

async fn attempt(requirement: &'static Requirement, bench: &Bench, endpoint: &Arc<Endpoint>) -> Attempt {
    let probe = Probe::new(Arc::clone(endpoint), seed_of(bench.seed, requirement.id));
    let probe = Arc::new(probe.reporting(bench.heard.clone(), requirement.id));
    let (judgement, cut) = judge(requirement, bench, &probe).await;
    let result = result(requirement, bench, &probe, judgement);
    Attempt { ran: Ran { result, lost: probe.lost(), vain: false }, waited: probe.waited(), cut }
}

fn result(
    requirement: &'static Requirement,
    bench: &Bench,
    probe: &Probe,
    judgement: Judgement,
) -> CheckResult {
    let (verdict, reason) = match judgement {
        Ok(()) if probe.exercised() == 0 => {
            (Verdict::Inconclusive, "the check made no assertion: it saw nothing".to_owned())
        }
        Ok(()) => (Verdict::Pass, String::new()),
        Err(NotPassed::Fail(why)) if probe.own_fault() => {
            (Verdict::Error, format!("a limit of the suite's own HTTP/2 library ended a call, so that {why}"))
        }
        Err(NotPassed::Fail(why)) => (Verdict::Fail, why),
        Err(NotPassed::Skip(why)) => (Verdict::Skip, why),
        Err(NotPassed::Inconclusive(why)) => (Verdict::Inconclusive, why),
        Err(NotPassed::Harness(why)) => (Verdict::Error, why),
    };
    let (evidence, evidence_omitted) = probe.evidence();
    let grpcurl = probe.grpcurl(&reason, bench.reflected).unwrap_or_default();
    CheckResult {
        id: requirement.id.to_owned(),
        level: requirement.level,
        role: requirement.role,
        title: requirement.title.to_owned(),
        requirement: requirement.sentence(),
        verdict,
        known: false,
        known_because: String::new(),
        reason: shortened(reason, LONGEST_REASON),
        evidence,
        evidence_omitted,
        exercised: probe.exercised(),
        started_at_ms: 0,
        duration_ms: 0,
        attempts: 1,
        rerun: format!("{} --only {} --seed {}", bench.command, requirement.id, bench.seed),
        grpcurl,
        trace: probe.trace(),
    }
}

/// The check's judgement, and whether it ran into its limit.
async fn judge(requirement: &'static Requirement, bench: &Bench, probe: &Arc<Probe>) -> (Judgement, bool) {
    if let Some(why) = not_asked(requirement, bench) {
        return (Err(NotPassed::Skip(why)), false);
    }
    let checking = Arc::clone(probe);
    // In a task of its own, so that a panic in a check is the suite's error and not the end of the run.
    let mut task = tokio::spawn(async move { AssertUnwindSafe((requirement.check)(&checking)).0.await });
    let _ended = AbortOnDrop(task.abort_handle());
    let limit = bench.limit_of(requirement);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(judgement)) => (judgement, false),
        Ok(Err(panic)) => (Err(NotPassed::Harness(format!("the check itself broke: {panic}"))), false),
        Err(_) => (Err(without_end(bench, limit)), true),
    }
}

/// Why this run does not ask a requirement, if it does not.
fn not_asked(requirement: &Requirement, bench: &Bench) -> Option<String> {
    if !requirement.dialects.contains(&bench.endpoint.dialect) {
        return Some(format!(
            "it cannot be seen in the dialect {}, which this run speaks",
            bench.endpoint.dialect
        ));
    }
    if requirement.slow && !bench.kinds.slow {
        return Some("it takes more than ten seconds: ask for it with --slow".to_owned());
    }
    if requirement.unsafe_ && bench.kinds.safe {
        return Some(
            "it loads, floods, unloads or restarts the target, and --safe leaves that out".to_owned(),
        );
    }
    let missing = requirement.needs.iter().find(|need| !bench.endpoint.gives(**need))?;
    Some(format!("it needs {missing}: {}", missing.given_by()))
}

fn without_end(bench: &Bench, limit: Duration) -> NotPassed {
    let limit = time(limit);
    if bench.too_slow {
        return NotPassed::Inconclusive(format!(
            "the check was not over after {limit}, which is the most that one check may take: the target is too slow \
             for it to be seen"
        ));
    }
    NotPassed::Fail(format!("the target kept the check busy for {limit} without an end in sight"))
}

/// Ends a check's task with the run that waits for it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Each check draws from its own stream of random numbers, so that running it alone draws the same.
fn seed_of(seed: u64, id: &str) -> u64 {
    wire::fnv(seed ^ wire::FNV_OFFSET, id.as_bytes())
}
