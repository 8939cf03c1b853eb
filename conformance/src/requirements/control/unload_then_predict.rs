//! CONTROL-007.

use std::sync::atomic::{AtomicBool, Ordering};

use ai_inference_proto::{ControlMessage, GenerationRequest};
use futures_util::future::join_all;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, MODEL, State},
    probe::{Probe, Unloadable, status},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// After `unload_model`, a prediction for that model works again (loads on demand) or is NOT_FOUND; never INTERNAL.
    ///
    /// # Why it matters
    /// Operators unload models to make room. A client that asks for one afterwards must get its text or learn that the
    /// model is not there: INTERNAL it retries, and a person takes it for a crash.
    ///
    /// # How it is checked
    /// The run's model is unloaded and then asked for by three requests at once; then it is unloaded twice in a row, and
    /// asked for again. Each request must be served, or be NOT_FOUND without any response. Where it is NOT_FOUND,
    /// `load_model` is sent: at the end the model must be served again. A server that does not know `unload_model`, that
    /// refuses it, or that needs longer to load the model than the check can wait, is inconclusive.
    ///
    /// # What a violation looks like
    /// INTERNAL, because the request finds a model without its engine.
    ///
    /// # References
    /// Contract, CONTROL-007.
    id: "CONTROL-007",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "an unloaded model is loaded on demand or NOT_FOUND",
    check: check,
    mutant: LostEngine, fault: "the first prediction after unload_model is INTERNAL", seen_as: "after unload_model",
}

/// Tokens of a generation that shows whether the model is served.
const SHORT: i64 = 4;
/// Requests that find the model unloaded at the same time.
const AT_ONCE: usize = 3;

async fn check(probe: &Probe) -> Judgement {
    let model = probe.served_model().await?;
    probe.knows("unload_model").await?;
    model.unload().await?;
    ask(probe, &model, "after unload_model").await?;
    model.bring_back(SHORT).await?;
    model.unload().await?;
    // What a second one in a row answers is left open.
    probe.model_command("unload_model", &model.id).await?;
    ask(probe, &model, "after unload_model was sent twice").await?;
    model.bring_back(SHORT).await.map(drop)
}

async fn ask(probe: &Probe, model: &Unloadable<'_>, after: &str) -> Judgement {
    let asked = join_all((0..AT_ONCE).map(|_| Box::pin(model.predict(SHORT)))).await;
    for generation in asked {
        let generation = generation?;
        let absent = generation.end.code() == Some(Code::NotFound) && generation.responses.is_empty();
        let served = generation.served();
        probe.assert(absent || served.is_ok(), || {
            let (end, count) = (generation.end.told(), generation.responses.len());
            format!(
                "{after}, a request for {:?} {end} with {count} responses, not with text or NOT_FOUND",
                model.id
            )
        })?;
    }
    Ok(())
}

/// Forgets to load the model again for the first request.
#[derive(Default)]
struct LostEngine {
    unloaded: AtomicBool,
}

#[tonic::async_trait]
impl Behaviour for LostEngine {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let answer = state.control(&message);
        if message.command == "unload_model" && status(&answer) == "ok" {
            self.unloaded.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request)?;
        if self.unloaded.swap(false, Ordering::Relaxed) {
            return Err(Status::internal(format!("the engine of {MODEL} is gone")));
        }
        Ok(())
    }
}
