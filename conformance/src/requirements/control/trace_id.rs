//! CONTROL-001.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// The answer carries the request's trace_id.
    ///
    /// # Why it matters
    /// Answers are matched to questions by it, in logs and in clients that pool their connections.
    ///
    /// # How it is checked
    /// `ping` is sent with an ordinary trace_id, a long one, and one in another script; each answer must carry the
    /// same, byte for byte.
    ///
    /// # What a violation looks like
    /// Another trace_id, or an empty one.
    ///
    /// # References
    /// Contract, CONTROL-001.
    id: "CONTROL-001",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "the answer carries the trace_id",
    check: check,
    mutant: OtherTraceId, fault: "another trace_id", seen_as: "trace_id",
}

async fn check(probe: &Probe) -> Judgement {
    for trace_id in [probe.trace_id(), "x".repeat(200), "轨迹 ñ 7".to_owned()] {
        let control = probe.control(&trace_id, "ping", &[]).await?;
        let answer = control.ok()?;
        probe.assert(answer.trace_id == trace_id, || {
            format!("trace_id {trace_id:?} was answered under trace_id {:?}", answer.trace_id)
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct OtherTraceId;

#[tonic::async_trait]
impl Behaviour for OtherTraceId {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        Ok(ControlMessage { trace_id: "another".into(), ..state.control(&message) })
    }
}
