//! CONTROL-006.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// `unload_model` without model_id is answered status=error.
    ///
    /// # Why it matters
    /// A server that guesses which model was meant unloads the wrong one, or all of them.
    ///
    /// # How it is checked
    /// `unload_model` is sent with an empty payload, an empty model_id and another key; each answer must have status=error. Then a generation must be
    /// served: nothing may have been unloaded for good.
    ///
    /// # What a violation looks like
    /// status=ok, as if a model had been named.
    ///
    /// # References
    /// Contract, CONTROL-006.
    id: "CONTROL-006",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "unload_model without model_id is an error",
    check: check,
    mutant: UnloadsAnything, fault: "unload_model without model_id gets status=ok", seen_as: "status",
}

async fn check(probe: &Probe) -> Judgement {
    for payload in [&[][..], &[("model_id", "")], &[("model", "any")]] {
        let control = probe.control(&probe.trace_id(), "unload_model", payload).await?;
        let answer = control.ok()?;
        let status = answer.payload.get("status").map_or("", String::as_str);
        probe.assert(status == "error", || {
            format!("unload_model with the payload {payload:?} was answered with status={status:?}, not status=error")
        })?;
    }
    probe.still_serves("unload_model without model_id").await
}

#[derive(Default)]
struct UnloadsAnything;

#[tonic::async_trait]
impl Behaviour for UnloadsAnything {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let unload = message.command == "unload_model";
        let mut answer = state.control(&message);
        if unload {
            answer.payload.insert("status".into(), "ok".into());
        }
        Ok(answer)
    }
}
