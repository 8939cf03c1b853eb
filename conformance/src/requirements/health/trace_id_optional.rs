//! HEALTH-007.

use ai_inference_proto::HealthAnswer;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// An empty request and one with a trace_id get the same kind of answer.
    ///
    /// # Why it matters
    /// grpcurl and load balancers send an empty message; coordinators send a trace_id. Both ask the same question.
    ///
    /// # How it is checked
    /// Health is called with an ordinary trace_id, with an empty message, and with a trace_id in another script. All
    /// three must end OK with the same `healthy`, `backend` and `version`.
    ///
    /// # What a violation looks like
    /// INVALID_ARGUMENT to the empty request.
    ///
    /// # References
    /// Contract, HEALTH-007; the interface contract, "Verify the connection".
    id: "HEALTH-007",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an empty Health request is as good as one with a trace_id",
    check: check,
    mutant: WantsTraceId, fault: "an empty trace_id is INVALID_ARGUMENT", seen_as: "INVALID_ARGUMENT",
}

async fn check(probe: &Probe) -> Judgement {
    let with = probe.health(&probe.trace_id()).await?;
    let expected = Kind::of(with.informative()?);
    for trace_id in ["", "轨迹-ñ-7"] {
        let other = probe.health(trace_id).await?;
        let kind = Kind::of(other.informative()?);
        probe.assert(kind == expected, || {
            format!("Health says {expected:?} with an ordinary trace_id and {kind:?} with {trace_id:?}")
        })?;
    }
    Ok(())
}

/// What does not change from one call to the next.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    healthy: bool,
    backend: Option<String>,
    version: Option<String>,
}

impl Kind {
    fn of(answer: &HealthAnswer) -> Self {
        let metric = |key: &str| answer.metrics.get(key).cloned();
        Self { healthy: answer.healthy, backend: metric("backend"), version: metric("version") }
    }
}

#[derive(Default)]
struct WantsTraceId;

#[tonic::async_trait]
impl Behaviour for WantsTraceId {
    async fn health(&self, state: &State, trace_id: &str) -> Result<HealthAnswer, Status> {
        if trace_id.is_empty() {
            return Err(Status::invalid_argument("trace_id is missing"));
        }
        Ok(state.health())
    }
}
