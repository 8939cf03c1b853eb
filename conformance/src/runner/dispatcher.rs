//! Runs a plan and tells what happens, in the plan's order. The only place that counts verdicts while a run goes on.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{
    executor::{Bench, execute},
    plan::Plan,
    survey::Surveyed,
};
use crate::{
    events::{CheckResult, Event, RunFinished, RunStarted, SCHEMA, Summary},
    known_failures::KnownFailures,
    vocabulary::{Profile, Role},
};

/// A silent target cannot be disturbed: its checks run all at once, so that the verdict comes soon.
const SILENT_JOBS: usize = 64;
/// Events that wait for slow reports.
const CHANNEL: usize = 64;

/// How a plan is run.
#[derive(Clone, Debug)]
pub struct Conduct {
    /// What to run.
    pub plan: Plan,
    /// Whom to judge.
    pub target: Surveyed,
    /// The roles asked for, for reports.
    pub roles: Vec<Role>,
    /// How much is asked, for reports.
    pub profile: Profile,
    /// Everything random follows from it.
    pub seed: u64,
    /// Checks at a time. One is the default: checks measure time and capacity, and must not disturb each other.
    pub jobs: usize,
    /// The command line that reaches the same target, for rerun hints.
    pub command: String,
    /// The target's known failures, which are marked and counted as such.
    pub known_failures: KnownFailures,
    /// For reports: a warning and an inconclusive check make the run red.
    pub strict: bool,
}

/// Runs the plan in a task of its own, until its end or until `stop`. The last event is [`Event::RunFinished`], also of a
/// run that was stopped; dropping the receiver ends the run without it.
pub fn conduct(conduct: Conduct, stop: impl Future<Output = ()> + Send + 'static) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(CHANNEL);
    tokio::spawn(async move {
        // An error here is a receiver that has gone: nobody wants to know any more.
        let _ = run(conduct, &events, stop).await;
    });
    receiver
}

type Sent = Result<(), mpsc::error::SendError<()>>;

async fn run(conduct: Conduct, events: &mpsc::Sender<Event>, stop: impl Future<Output = ()>) -> Sent {
    let began = Instant::now();
    let mut summary = Summary::default();
    let interrupted = tokio::select! {
        ended = dispatch(conduct, events, &mut summary) => ended.map(|()| false)?,
        () = stop => true,
    };
    let duration_ms = millis(began.elapsed());
    tell(events, Event::RunFinished(RunFinished { summary, duration_ms, interrupted })).await
}

async fn dispatch(conduct: Conduct, events: &mpsc::Sender<Event>, summary: &mut Summary) -> Sent {
    let Surveyed { endpoint, facts, .. } = conduct.target;
    let jobs = if facts.silent { SILENT_JOBS } else { conduct.jobs.max(1) };
    let started = RunStarted {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
        roles: conduct.roles.clone(),
        profile: conduct.profile.name().to_owned(),
        seed: conduct.seed,
        started_at_ms: millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        planned: conduct.plan.requirements.len(),
        strict: conduct.strict,
    };
    tell(events, Event::RunStarted(started)).await?;
    let bench = Bench {
        endpoint: Arc::new(endpoint),
        seed: conduct.seed,
        silent: facts.silent,
        reflected: facts.reflection.is_some(),
        vain: Arc::default(),
        command: conduct.command,
    };
    tell(events, Event::Surveyed(facts)).await?;

    let mut waiting = conduct.plan.requirements.into_iter().enumerate();
    let mut running: JoinSet<(usize, CheckResult)> = JoinSet::new();
    let mut finished: BTreeMap<usize, CheckResult> = BTreeMap::new();
    let mut next = 0;
    loop {
        while running.len() < jobs
            && let Some((at, requirement)) = waiting.next()
        {
            tell(events, Event::CheckStarted { id: requirement.id.to_owned() }).await?;
            let bench = bench.clone();
            running.spawn(async move { (at, execute(requirement, &bench).await) });
        }
        let Some(done) = running.join_next().await else { return Ok(()) };
        if let Ok((at, result)) = done {
            finished.insert(at, result);
        }
        while let Some(mut result) = finished.remove(&next) {
            conduct.known_failures.mark(&mut result);
            next += 1;
            // Counted and told in one go, so that a run that is stopped here counts what it told.
            let place = events.reserve().await?;
            summary.add(&result);
            place.send(Event::CheckFinished(Box::new(result)));
        }
    }
}

async fn tell(events: &mpsc::Sender<Event>, event: Event) -> Sent {
    events.reserve().await?.send(event);
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
