//! Runs a plan and tells what happens, in the plan's order. The only place that counts verdicts while a run goes on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use present::secrets::Redactor;
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
};

use super::{
    executor::{Bench, Kinds, Ran, broken, execute},
    hanging::{Hanging, Sign},
    plan::Plan,
    presence::gone,
    redact::redacted,
    schedule::{Place, Schedule, Turn},
    survey::Surveyed,
};
use crate::{
    events::{CheckResult, Event, RunFinished, RunStarted, SCHEMA, Summary, Verdict},
    known_failures::KnownFailures,
    probe::Heard,
    requirement::Requirement,
    vocabulary::{Begins, Isolation, Profile, Role},
};

/// A target that is silent, or leaves most of its calls hanging, cannot be disturbed: its checks run all at once, so that the
/// verdict comes soon.
const SILENT_JOBS: usize = 64;
/// A target whose generations never end is asked by so many checks at a time: each of them takes its whole limit.
const ENDLESS_JOBS: usize = 8;
/// A check's time, however quick the target is; and the longest that any check may take.
const LEAST_LIMIT: Duration = Duration::from_secs(25);
const MOST_LIMIT: Duration = Duration::from_mins(2);
/// Of a target that says nothing, or never ends, nothing more is to be learnt by waiting.
const SILENT_LIMIT: Duration = Duration::from_secs(15);
const ENDLESS_LIMIT: Duration = Duration::from_secs(8);
/// A check's time as a multiple of what one short generation took.
const GENERATIONS: u32 = 60;
/// Events that wait for slow reports.
const CHANNEL: usize = 64;

/// How a plan is run.
#[derive(Clone, Debug)]
pub struct Conduct {
    /// What to run.
    pub plan: Plan,
    /// The target to judge.
    pub target: Surveyed,
    /// The roles asked for, for reports.
    pub roles: Vec<Role>,
    /// How much is asked, for reports.
    pub profile: Profile,
    /// Everything random follows from it.
    pub seed: u64,
    /// Checks at a time, at most. How many it is follows from the target's own capacity, and only checks that may be
    /// beside others are.
    pub jobs: usize,
    /// The command line that reaches the same target, for rerun hints.
    pub command: String,
    /// The target's known failures, which are marked and counted as such.
    pub known_failures: KnownFailures,
    /// Whether slow checks are asked, and whether those are left out that load, flood, unload or restart the target.
    pub kinds: Kinds,
    /// For reports: a warning and an inconclusive check make the run red.
    pub strict: bool,
}

/// Runs the plan in a task of its own, until its end or until `stop`. The last event is [`Event::RunFinished`], also of a
/// run that was stopped; dropping the receiver ends the run without it.
pub fn conduct(conduct: Conduct, stop: impl Future<Output = ()> + Send + 'static) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(CHANNEL);
    tokio::spawn(async move {
        // An error here means that the receiver is gone: the events are no longer needed.
        let _ = run(conduct, &events, stop).await;
    });
    receiver
}

type Sent = Result<(), mpsc::error::SendError<()>>;

async fn run(conduct: Conduct, events: &mpsc::Sender<Event>, stop: impl Future<Output = ()>) -> Sent {
    let began = Instant::now();
    let mut summary = Summary::default();
    let teller = Teller { events, redactor: conduct.target.endpoint.redactor() };
    let (interrupted, broke_off) = tokio::select! {
        ended = dispatch(conduct, &teller, &mut summary) => (false, ended?),
        () = stop => (true, None),
    };
    let duration_ms = millis(began.elapsed());
    teller.tell(Event::RunFinished(RunFinished { summary, duration_ms, interrupted, broke_off })).await
}

/// Runs the plan; returns why it broke off before its end, if it did.
async fn dispatch(
    conduct: Conduct,
    teller: &Teller<'_>,
    summary: &mut Summary,
) -> Result<Option<String>, mpsc::error::SendError<()>> {
    let Surveyed { endpoint, facts, generation, width, endless, .. } = conduct.target;
    let requirements = conduct.plan.requirements;
    let mut schedule = if facts.silent {
        Schedule::at_once(requirements.len(), SILENT_JOBS)
    } else if endless {
        Schedule::at_once(requirements.len(), ENDLESS_JOBS)
    } else {
        let apart = endpoint.instances.as_ref().is_some_and(|instances| instances.can_be_apart());
        let checks = requirements.iter().map(|r| {
            if apart && r.stops_the_target() {
                return (Isolation::Shared, Place::Second);
            }
            (r.isolation, if r.begins == Begins::First { Place::First } else { Place::InTurn })
        });
        // One more at a time: not all of them are the one target's load.
        let width = width.min(conduct.jobs.max(1));
        Schedule::new(checks, if width > 1 { width + usize::from(apart) } else { width })
    };
    let started = RunStarted {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
        roles: conduct.roles.clone(),
        profile: conduct.profile.name().to_owned(),
        seed: conduct.seed,
        started_at_ms: millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        planned: requirements.len(),
        strict: conduct.strict,
    };
    teller.tell(Event::RunStarted(started)).await?;
    let mut hopeless = facts.silent || endless;
    let wanted = generation * GENERATIONS;
    let mut bench = Bench {
        endpoint: Arc::new(endpoint),
        seed: conduct.seed,
        reflected: facts.reflection.is_some(),
        hopeless,
        limit: match (facts.silent, endless) {
            (true, _) => SILENT_LIMIT,
            (false, true) => ENDLESS_LIMIT,
            (false, false) => wanted.clamp(LEAST_LIMIT, MOST_LIMIT),
        },
        too_slow: wanted > MOST_LIMIT && !hopeless,
        vain: Arc::default(),
        heard: Heard::default(),
        kinds: conduct.kinds,
        command: conduct.command,
    };
    let spoke = !facts.services.is_empty();
    teller.tell(Event::Surveyed(facts)).await?;

    let mut checks = Checks::default();
    let known_failures = &conduct.known_failures;
    let mut hanging = Hanging::default();
    let mut told = Told { summary, known_failures, finished: BTreeMap::new(), next: 0 };
    loop {
        while let Some(turn) = schedule.next() {
            let Some(requirement) = requirements.get(turn.at) else { continue };
            if checks.first_time(turn) {
                teller.tell(Event::CheckStarted { id: requirement.id.to_owned() }).await?;
            }
            checks.begin(turn, requirement, &bench);
        }
        let Some((turn, requirement, ran)) = checks.ended().await else { return Ok(None) };
        schedule.ended();
        let result = match ran {
            Ok(ran) => {
                if ran.result.verdict == Verdict::Fail
                    && ran.lost
                    && !requirement.stops_the_target()
                    && gone(&bench.endpoint, spoke).await
                {
                    told.the_rest(teller).await?;
                    let id = requirement.id;
                    return Ok(Some(format!("the target went away during {id}; the rest was not judged")));
                }
                if !hopeless {
                    let sign = hanging.add(turn.beside, ran.vain);
                    schedule.alone_first(sign == Sign::Perhaps);
                    if sign == Sign::Yes {
                        hopeless = true;
                        (bench.hopeless, bench.limit) = (true, SILENT_LIMIT);
                        schedule.all_at_once(SILENT_JOBS);
                    }
                }
                if turn.beside && !hopeless && !matches!(ran.result.verdict, Verdict::Pass | Verdict::Skip) {
                    schedule.again(turn.at, requirement.stops_the_target());
                    continue;
                }
                ran.result
            }
            Err(why) => broken(requirement, &bench, &why),
        };
        told.add(turn.at, result, teller).await?;
    }
}

/// The checks under way.
#[derive(Default)]
struct Checks {
    running: JoinSet<Ran>,
    turns: HashMap<Id, (Turn, &'static Requirement)>,
    begun: std::collections::BTreeSet<usize>,
}

impl Checks {
    /// Whether this check has not been begun before.
    fn first_time(&mut self, turn: Turn) -> bool {
        self.begun.insert(turn.at)
    }

    fn begin(&mut self, turn: Turn, requirement: &'static Requirement, bench: &Bench) {
        let bench = bench.clone();
        let task = self.running.spawn(async move { execute(requirement, &bench, turn.beside).await });
        self.turns.insert(task.id(), (turn, requirement));
    }

    /// Waits for a check to end. A task that broke is an error of the suite for its own requirement alone.
    async fn ended(&mut self) -> Option<(Turn, &'static Requirement, Result<Ran, String>)> {
        loop {
            let (id, ran) = match self.running.join_next_with_id().await? {
                Ok((id, ran)) => (id, Ok(ran)),
                Err(error) => (error.id(), Err(error.to_string())),
            };
            if let Some((turn, requirement)) = self.turns.remove(&id) {
                return Some((turn, requirement, ran));
            }
        }
    }
}

/// The results, told in the plan's order.
struct Told<'a> {
    summary: &'a mut Summary,
    known_failures: &'a KnownFailures,
    finished: BTreeMap<usize, CheckResult>,
    next: usize,
}

impl Told<'_> {
    async fn add(&mut self, at: usize, result: CheckResult, teller: &Teller<'_>) -> Sent {
        self.finished.insert(at, result);
        while let Some(result) = self.finished.remove(&self.next) {
            self.next += 1;
            self.tell(result, teller).await?;
        }
        Ok(())
    }

    /// What waits for a result that will not come.
    async fn the_rest(&mut self, teller: &Teller<'_>) -> Sent {
        while let Some((_, result)) = self.finished.pop_first() {
            self.tell(result, teller).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, result: CheckResult, teller: &Teller<'_>) -> Sent {
        // Marked as it is told: a list that is written from reports has no secrets either.
        let mut event = redacted(Event::CheckFinished(Box::new(result)), &teller.redactor);
        if let Event::CheckFinished(result) = &mut event {
            self.known_failures.mark(result);
        }
        // Counted and told in one go, so that a run that is stopped here counts what it told.
        let place = teller.events.reserve().await?;
        if let Event::CheckFinished(result) = &event {
            self.summary.add(result);
        }
        place.send(event);
        Ok(())
    }
}

/// Sends events; secrets never get out.
struct Teller<'a> {
    events: &'a mpsc::Sender<Event>,
    redactor: Redactor,
}

impl Teller<'_> {
    async fn tell(&self, event: Event) -> Sent {
        let place = self.events.reserve().await?;
        place.send(redacted(event, &self.redactor));
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
