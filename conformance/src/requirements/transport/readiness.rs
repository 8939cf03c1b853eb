//! TRANSPORT-010.

use std::time::{Duration, Instant};

use ai_inference_proto::GenerationRequest;
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus::Serving;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Managed, Probe, wire::time},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Readiness is told only when a generation would be served: the first StreamPredict after the first `healthy = true` (or
    /// SERVING) succeeds.
    ///
    /// # Why it matters
    /// An orchestrator sends users to a server as soon as it says that it is ready. One that says so while its model is still
    /// loading fails the first users after every deployment.
    ///
    /// # How it is checked
    /// The run starts an instance of its own, and asks Health as soon as it listens, and again and again. The first answer
    /// that says healthy, or the first SERVING of grpc.health.v1, is followed at once by a request, which must be served. This
    /// is done with two instances. One that is not ready within a minute and a half is inconclusive.
    ///
    /// # What a violation looks like
    /// healthy as soon as the port is open, and NOT_FOUND or UNAVAILABLE for the first request.
    ///
    /// # References
    /// Contract, TRANSPORT-010 and HEALTH-001.
    id: "TRANSPORT-010",
    level: Should,
    dialects: [Contract, CyLlm],
    needs: [Managed],
    isolation: Exclusive,
    since: "0.1.0",
    title: "readiness is told when a generation would be served",
    check: check,
    mutant: HealthyAtBind, fault: "healthy at bind, NOT_FOUND at first", seen_as: "the first request",
}

const STARTS: usize = 2;
/// For both starts together.
const LIMIT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(5);

async fn check(probe: &Probe) -> Judgement {
    let began = Instant::now();
    for _ in 0..STARTS {
        let managed = probe.listening().await?;
        let judged = first_request(probe, &managed, began).await;
        managed.stop().await;
        judged?;
    }
    Ok(())
}

async fn first_request(probe: &Probe, managed: &Managed, began: Instant) -> Judgement {
    let own = &managed.probe;
    let said = loop {
        if let Some(said) = ready(own).await {
            break said;
        }
        if began.elapsed() > LIMIT {
            return Err(NotPassed::Inconclusive(format!(
                "the target did not say that it is ready within {}",
                time(LIMIT)
            )));
        }
        own.forget_connection().await;
        tokio::time::sleep(LOOK).await;
    };
    let request = own.request(2);
    let mut stream = own.stream().await?;
    stream.send(&request);
    stream.half_close();
    let generation = stream.finish(request).await;
    let served = generation.served();
    probe.assert(served.is_ok(), || {
        let count = generation.responses.len();
        let told = generation.end.told();
        format!("{said}, and the first request after it {told} after {count} responses: readiness was told too soon")
    })
}

/// How readiness was told, if it was.
async fn ready(own: &Probe) -> Option<&'static str> {
    let health = own.health(&own.trace_id()).await.ok()?;
    if health.answer.is_some_and(|answer| answer.healthy) {
        return Some("Health said healthy");
    }
    let standard = own.standard_check("").await.ok()?;
    (standard == Ok(Serving)).then_some("grpc.health.v1 said SERVING")
}

/// Finds its model a second after it has begun to listen.
struct HealthyAtBind {
    began: Instant,
}

impl Default for HealthyAtBind {
    fn default() -> Self {
        Self { began: Instant::now() }
    }
}

impl Behaviour for HealthyAtBind {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if self.began.elapsed() < Duration::from_secs(1) {
            return Err(Status::not_found("no model is loaded"));
        }
        state.admit(request)
    }
}
