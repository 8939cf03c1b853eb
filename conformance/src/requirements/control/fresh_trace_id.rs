//! CONTROL-002.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// An empty trace_id is answered with a fresh, non-empty one.
    ///
    /// # Why it matters
    /// A command without a trace_id still shows in logs; the answer tells the client under which name.
    ///
    /// # How it is checked
    /// `ping` is sent twice with an empty trace_id; both answers must carry one, and not the same.
    ///
    /// # What a violation looks like
    /// An empty trace_id, or a constant one.
    ///
    /// # References
    /// Contract, CONTROL-002.
    id: "CONTROL-002",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an empty trace_id is answered with a fresh one",
    check: check,
    mutant: NoTraceId, fault: "an empty trace_id stays empty", seen_as: "empty trace_id",
}

async fn check(probe: &Probe) -> Judgement {
    let mut given = Vec::new();
    for _ in 0..2 {
        let control = probe.control("", "ping", &[]).await?;
        given.push(control.ok()?.trace_id.clone());
    }
    probe.assert(!given.iter().any(String::is_empty), || {
        "a command without a trace_id was answered under an empty trace_id".to_owned()
    })?;
    probe.assert(given[0] != given[1], || {
        format!("two commands without a trace_id got the same one, {:?}", given[0])
    })
}

#[derive(Default)]
struct NoTraceId;

#[tonic::async_trait]
impl Behaviour for NoTraceId {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let empty = message.trace_id.is_empty();
        let mut answer = state.control(&message);
        if empty {
            answer.trace_id.clear();
        }
        Ok(answer)
    }
}
