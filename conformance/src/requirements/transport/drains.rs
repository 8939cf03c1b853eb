//! TRANSPORT-003.

use std::time::{Duration, Instant};

use tonic_health::pb::health_check_response::ServingStatus::NotServing;

use crate::{
    exemplar::{Behaviour, State},
    probe::{
        Managed, Probe,
        wire::{End, time},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// SIGTERM: no new work, health NOT_SERVING, running generations finish within the grace time, exit code 0.
    ///
    /// # Why it matters
    /// Every deployment sends SIGTERM to servers that work. One that dies at once cuts its users' answers off; one that goes on to
    /// take work never ends, until it is killed in the middle of it.
    ///
    /// # How it is checked
    /// The run starts an instance of its own. A generation of a second runs on it when it gets SIGTERM (or the signal
    /// that its target file names). From then on a new request may not be served; Health must say that it is not healthy, or
    /// grpc.health.v1 NOT_SERVING, or neither may answer, within half a second. The generation must come to its last message
    /// with OK. Then the process must end within the grace time of the target file (10 s, unless it says otherwise),
    /// with exit code 0 where the process is the server's own and no shell's. A server whose generations are over too soon
    /// shows nothing of this, and the check says so.
    ///
    /// # What a violation looks like
    /// The connection of a running generation is closed in the middle of its text.
    ///
    /// # References
    /// Contract, TRANSPORT-003.
    id: "TRANSPORT-003",
    level: Should,
    dialects: [Contract, CyLlm],
    needs: [Managed],
    isolation: Exclusive,
    since: "0.1.0",
    title: "SIGTERM lets what runs finish and takes no new work",
    check: check,
    mutant: CutAtOnce, fault: "SIGTERM cuts running generations", seen_as: "a generation that ran at SIGTERM",
}

/// The generation that runs when the signal comes.
const LASTING: Duration = Duration::from_secs(1);
/// From the signal until it is known everywhere.
const HEARD: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(25);

async fn check(probe: &Probe) -> Judgement {
    let mut managed = probe.started().await?;
    let judged = ends(probe, &mut managed).await;
    managed.stop().await;
    judged
}

async fn ends(probe: &Probe, managed: &mut Managed) -> Judgement {
    let own = &managed.probe;
    let pace = own.pace().await?;
    let (stream, bound) = own.begun(&own.connect().await?, pace, LASTING).await?;
    let alone = managed.is_one_process();
    managed.ask_to_end();
    let signalled = Instant::now();
    let running = tokio::spawn(stream.finish(own.request(bound)));

    let mut taken = None;
    let mut refused = false;
    let mut told = false;
    while signalled.elapsed() < HEARD && !running.is_finished() && !(refused && told) {
        tokio::time::sleep(LOOK).await;
        told = told || !says_healthy(managed).await?;
        match managed.refuses(false).await? {
            Some(_) => refused = true,
            None => taken = Some(signalled.elapsed()),
        }
    }
    let over = running.is_finished();
    let generation = running.await.map_err(|error| NotPassed::Harness(error.to_string()))?;
    let complete = generation.responses.iter().any(|response| response.message.end_of_stream);
    probe.assert(generation.reached_its_end(), || {
        let (count, end) = (generation.responses.len(), generation.end.told());
        if complete {
            format!("a generation that ran at SIGTERM had its last message, and then its call {end}, not OK")
        } else {
            format!("a generation that ran at SIGTERM was cut: after {count} responses its call {end}")
        }
    })?;
    if over && !(refused && told) {
        return Err(NotPassed::Inconclusive(format!(
            "a generation of {bound} tokens was over {} after SIGTERM: too soon to see what else the server does",
            time(signalled.elapsed())
        )));
    }
    probe.assert(refused, || {
        let late = taken.map_or_else(String::new, |at| format!(" {} after it", time(at)));
        format!("after SIGTERM new work was still taken{late}")
    })?;
    probe.assert(told, || {
        format!(
            "{} after SIGTERM, Health still says healthy, and grpc.health.v1 does not say NOT_SERVING",
            time(HEARD)
        )
    })?;
    let grace = managed.grace();
    let status = managed.exited().await;
    probe.assert(status.is_some(), || {
        format!(
            "when its last generation was over, the process did not end within {} (the target's grace time)",
            time(grace)
        )
    })?;
    match status {
        Some(status) if alone => probe.assert(status.success(), || {
            format!("after SIGTERM the process ended with {status}, not with exit code 0")
        }),
        _ => Ok(()),
    }
}

/// Whether anything of the server says that it takes work: its own Health, or the standard one.
async fn says_healthy(managed: &Managed) -> Result<bool, NotPassed> {
    let own = &managed.probe;
    own.forget_connection().await;
    let Ok(health) = own.health(&own.trace_id()).await else { return Ok(false) };
    if !health.answer.is_some_and(|answer| answer.healthy) {
        return Ok(false);
    }
    let standard = own.standard_check("").await?;
    Ok(standard != Ok(NotServing) && !matches!(standard, Err(End::Closed(_))))
}

/// Ends with the signal, whatever runs.
#[derive(Default)]
struct CutAtOnce;

#[tonic::async_trait]
impl Behaviour for CutAtOnce {
    async fn drain(&self, _state: &State) {}
}
