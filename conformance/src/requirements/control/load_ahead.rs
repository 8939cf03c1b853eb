//! CONTROL-009.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, Unloadable, status},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// `load_model` with model_id loads ahead of time; unknown id gives status=error.
    ///
    /// # Why it matters
    /// Loading takes seconds to minutes. An operator who loads a model before its users come must be able to believe the
    /// answer, and a typing error must not look like a model that is ready.
    ///
    /// # How it is checked
    /// Three models that do not exist are asked for, one of them with a name that begins like a served one; each answer
    /// must end OK with status=error. Then the run's model is unloaded, where the server can, and `load_model` is sent for
    /// it: the answer must be status=ok, and the next request for it must be served. A server that does not know
    /// `load_model` is inconclusive.
    ///
    /// # What a violation looks like
    /// status=ok for a model that does not exist; or status=ok and then NOT_FOUND for the model.
    ///
    /// # References
    /// Contract, CONTROL-009.
    id: "CONTROL-009",
    level: May,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "load_model loads ahead of time and knows its models",
    check: check,
    mutant: LoadsAnything, fault: "load_model of an unknown model gets status=ok", seen_as: "which does not exist",
}

/// Tokens of a generation that shows whether the model is served.
const SHORT: i64 = 4;

async fn check(probe: &Probe) -> Judgement {
    let model = probe.served_model().await?;
    let number = probe.random(1 << 30);
    for id in [
        format!("no-such-model-{number}"),
        "没有-this/model:1".to_owned(),
        format!("{}-no-such-{number}", model.id), // begins like one that is served
    ] {
        let control = probe.model_command("load_model", &id).await?;
        let answer = control.ok()?;
        probe.assert(status(answer) == "error", || {
            format!(
                "load_model of {id:?}, which does not exist, was answered {:?}, not with status=error",
                answer.payload
            )
        })?;
    }
    probe.knows("load_model").await?;
    let loaded = loads(probe, &model).await;
    model.bring_back(SHORT).await?;
    loaded
}

async fn loads(probe: &Probe, model: &Unloadable<'_>) -> Judgement {
    let unloaded = probe.knows("unload_model").await.is_ok() && model.unload().await.is_ok();
    let control = probe.model_command("load_model", &model.id).await?;
    let answer = control.ok()?;
    if !unloaded && status(answer) != "ok" {
        return Err(NotPassed::Inconclusive(format!(
            "load_model of {:?}, which is loaded and cannot be unloaded, was answered {:?}",
            model.id, answer.payload
        )));
    }
    probe.assert(status(answer) == "ok", || {
        format!(
            "load_model of {:?}, which is served, was answered {:?}, not with status=ok",
            model.id, answer.payload
        )
    })?;
    let generation = model.predict(SHORT).await?;
    let served = generation.served();
    probe.assert(served.is_ok(), || {
        let (end, count) = (generation.end.told(), generation.responses.len());
        format!(
            "load_model of {:?} was answered status=ok, and a request for it then {end} with {count} responses",
            model.id
        )
    })
}

#[derive(Default)]
struct LoadsAnything;

#[tonic::async_trait]
impl Behaviour for LoadsAnything {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let load = message.command == "load_model";
        let mut answer = state.control(&message);
        if load && message.payload.contains_key("model_id") {
            answer.payload.insert("status".into(), "ok".into());
        }
        Ok(answer)
    }
}
