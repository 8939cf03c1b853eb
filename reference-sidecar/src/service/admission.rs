//! From a request to a running generation: the checks, in order of their cost.

use std::sync::Arc;

use ai_inference_proto::GenerationRequest;
use tokio::sync::OwnedSemaphorePermit;

use super::{Phase, Refusal, State};
use crate::{
    engine::{EventReader, Job, SamplingParameters},
    models::LoadedModel,
};

/// ERROR-003.
pub(super) const MOST_CHARACTERS: usize = 50_000;

/// Checks a request and starts it. `held` is the room that its text takes until then.
pub(super) async fn admit(
    state: Arc<State>,
    request: GenerationRequest,
    held: Result<OwnedSemaphorePermit, Refusal>,
) -> Result<(Arc<LoadedModel>, EventReader), Refusal> {
    if state.phase() != Phase::Serving {
        return Err(Refusal::Draining);
    }
    let _held = held?;
    let sampling = SamplingParameters::resolve(request.sampling)?;
    // No adapter root is configured, so no adapter is known; the name is not looked at (ERROR-009).
    if !request.adapter.is_empty() {
        return Err(Refusal::Adapter);
    }
    if request.prompt.chars().nth(MOST_CHARACTERS).is_some() {
        return Err(Refusal::PromptTooLong);
    }
    let model = state.registry.get(&request.model_id).await?;
    let prompt = state.intake.encode(model.tokenizer.clone(), request.prompt).await?;
    let job = Job { prompt, priority: request.priority, sampling, seed: rand::random() };
    let reader = model.engine.submit(job)?;
    Ok((model, reader))
}
