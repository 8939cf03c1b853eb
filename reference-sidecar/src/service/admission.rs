//! From a request to a running generation: the checks, in order of their cost.

use std::sync::Arc;

use ai_inference_proto::GenerationRequest;
use tokio::task;

use super::{Phase, Refusal, State};
use crate::{
    engine::{EventReader, Job, SamplingParameters},
    models::LoadedModel,
};

/// ERROR-003.
pub(super) const MOST_CHARACTERS: usize = 50_000;

/// Checks a request and starts it.
pub(super) async fn admit(
    state: Arc<State>,
    request: GenerationRequest,
) -> Result<(Arc<LoadedModel>, EventReader), Refusal> {
    if state.phase() != Phase::Serving {
        return Err(Refusal::Draining);
    }
    let sampling = SamplingParameters::resolve(request.sampling)?;
    // No adapter root is configured, so no adapter is known; the name is not looked at (ERROR-009).
    if !request.adapter.is_empty() {
        return Err(Refusal::Adapter);
    }
    if request.prompt.chars().nth(MOST_CHARACTERS).is_some() {
        return Err(Refusal::PromptTooLong);
    }
    let model = state.registry.get(&request.model_id).await?;
    // Tens of milliseconds for the longest prompts: not on a thread that answers Health (HEALTH-005).
    let (tokenizer, prompt) = (model.tokenizer.clone(), request.prompt);
    let encoded = task::spawn_blocking(move || tokenizer.encode(&prompt)).await;
    let prompt = encoded.map_err(|_| Refusal::Internal)?.map_err(|_| Refusal::Unspeakable)?;
    let job = Job { prompt, priority: request.priority, sampling, seed: rand::random(), adapter: None };
    let reader = model.engine.submit(job)?;
    Ok((model, reader))
}
