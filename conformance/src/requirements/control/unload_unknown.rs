//! CONTROL-011.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, status},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// `unload_model` of a model_id that the server does not know is status=error.
    ///
    /// # Why it matters
    /// An operator who unloads a model to make room and misspells its name must learn that nothing was unloaded.
    ///
    /// # How it is checked
    /// `unload_model` is sent with five names that no model has: an ordinary one, one in another script, one that begins
    /// like a served one, one that looks like a path, and one with a NUL. Each answer must end OK with status=error. Then a
    /// generation must be served: no other model may have been unloaded for good. A server that does not know
    /// `unload_model` is inconclusive.
    ///
    /// # What a violation looks like
    /// status=ok, as if a model had been unloaded.
    ///
    /// # References
    /// Contract, CONTROL-011.
    id: "CONTROL-011",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "unload_model of an unknown model is an error",
    check: check,
    mutant: UnloadsAnyName, fault: "unload_model of an unknown model gets status=ok", seen_as: "which does not exist",
}

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let number = probe.random(1 << 30);
    let served = &probe.endpoint().model;
    for id in [
        format!("no-such-model-{number}"),
        "没有-this/model:1".to_owned(),
        format!("{served}-no-such-{number}"), // begins like one that is served
        format!("../no-such-model-{number}"),
        format!("no-such\0model-{number}"),
    ] {
        let control = probe.model_command("unload_model", &id).await?;
        let answer = control.ok()?;
        probe.assert(status(answer) == "error", || {
            format!(
                "unload_model of {id:?}, which does not exist, was answered {:?}, not with status=error",
                answer.payload
            )
        })?;
    }
    probe.knows("unload_model").await?;
    probe.still_serves("unload_model of models that do not exist").await
}

#[derive(Default)]
struct UnloadsAnyName;

#[tonic::async_trait]
impl Behaviour for UnloadsAnyName {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let unload = message.command == "unload_model";
        let named = message.payload.get("model_id").is_some_and(|id| !id.is_empty());
        let mut answer = state.control(&message);
        if unload && named {
            answer.payload.insert("status".into(), "ok".into());
        }
        Ok(answer)
    }
}
