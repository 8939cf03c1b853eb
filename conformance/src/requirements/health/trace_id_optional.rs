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
    /// Health is called with an empty message, with an ordinary trace_id and with one in another script. All three
    /// must end OK with the same `healthy`.
    ///
    /// # What a violation looks like
    /// INVALID_ARGUMENT to the empty request.
    ///
    /// # References
    /// Contract, HEALTH-007; the interface contract, "Verify the connection".
    id: "HEALTH-007",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an empty Health request is as good as one with a trace_id",
    check: check,
    mutant: WantsTraceId, fault: "an empty trace_id is INVALID_ARGUMENT", seen_as: "INVALID_ARGUMENT",
}

async fn check(probe: &Probe) -> Judgement {
    let with = probe.health(&probe.trace_id()).await?;
    let healthy = with.informative()?.healthy;
    for trace_id in ["", "轨迹-ñ-7"] {
        let other = probe.health(trace_id).await?;
        let answer = other.informative()?;
        probe.assert(answer.healthy == healthy, || {
            format!(
                "Health says healthy = {healthy} with a trace_id and {} with {trace_id:?}",
                answer.healthy
            )
        })?;
    }
    Ok(())
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
