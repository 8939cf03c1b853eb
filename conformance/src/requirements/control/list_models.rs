//! CONTROL-004.

use ai_inference_proto::ControlMessage;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// `list_models` is answered status=ok and `models`, a comma-separated list holding every model_id that
    /// StreamPredict takes.
    ///
    /// # Why it matters
    /// A gateway builds its model menu, and its routing, from this list. A model that is served but not listed
    /// cannot be reached; an empty list looks like a dead backend.
    ///
    /// # How it is checked
    /// `list_models` is sent: status must be ok and the list must not be empty. A generation is then run with the
    /// model of this run (`--model`, or else the first of the list), and a model_id that was taken must be in the
    /// list.
    ///
    /// # What a violation looks like
    /// An empty list from a server that serves.
    ///
    /// # References
    /// Contract, CONTROL-004.
    id: "CONTROL-004",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "list_models names what StreamPredict takes",
    check: check,
    mutant: ListsNothing, fault: "the list is empty", seen_as: "list is empty",
}

async fn check(probe: &Probe) -> Judgement {
    let control = probe.control(&probe.trace_id(), "list_models", &[]).await?;
    let answer = control.ok()?;
    let payload = |key: &str| answer.payload.get(key).map_or("", String::as_str);
    probe.assert(payload("status") == "ok", || {
        format!("list_models was answered with {:?}, not with status=ok", answer.payload)
    })?;
    let listed: Vec<&str> = payload("models").split(',').map(str::trim).filter(|m| !m.is_empty()).collect();
    probe.assert(!listed.is_empty(), || format!("the list is empty: {:?}", answer.payload))?;

    let mut request = probe.request(1);
    if request.model_id.is_empty() {
        listed[0].clone_into(&mut request.model_id);
    }
    let model = request.model_id.clone();
    let generation = probe.predict(request).await?;
    probe.assert(generation.end.code() != Some(Code::NotFound), || {
        format!("the list names {model:?}, but StreamPredict {}", generation.end.told())
    })?;
    generation.served()?;
    probe.assert(listed.contains(&model.as_str()), || {
        format!("StreamPredict takes the model {model:?}, which is not in the list {listed:?}")
    })
}

#[derive(Default)]
struct ListsNothing;

#[tonic::async_trait]
impl Behaviour for ListsNothing {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let mut answer = state.control(&message);
        if let Some(models) = answer.payload.get_mut("models") {
            models.clear();
        }
        Ok(answer)
    }
}
