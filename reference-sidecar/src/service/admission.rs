//! From a request to a running generation: the checks, in order of their cost.

use std::sync::Arc;

use ai_inference_proto::GenerationRequest;
use tokio::sync::OwnedSemaphorePermit;

use super::{Phase, Refusal, State};
use crate::{
    engine::{EventReader, Job, SamplingParameters},
    registry::LoadedModel,
};

/// Most characters of a prompt (ERROR-003).
pub(super) const MOST_CHARACTERS: usize = 50_000;

/// What came of a request: a generation or a refusal, and what is known of it either way.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The model, where one was found.
    pub(super) model: Option<Arc<LoadedModel>>,
    /// Tokens of the prompt, where they were counted.
    pub(super) prompt_tokens: Option<usize>,
}

/// Checks a request and starts it. `held` is the room that its text takes until then.
pub(super) async fn admit(
    state: Arc<State>,
    request: GenerationRequest,
    held: Result<OwnedSemaphorePermit, Refusal>,
) -> (Admission, Result<EventReader, Refusal>) {
    let mut known = Admission::default();
    let outcome = start(&state, request, held, &mut known).await;
    (known, outcome)
}

async fn start(
    state: &State,
    request: GenerationRequest,
    held: Result<OwnedSemaphorePermit, Refusal>,
    known: &mut Admission,
) -> Result<EventReader, Refusal> {
    if state.phase() != Phase::Serving {
        return Err(Refusal::Draining);
    }
    let _held = held?;
    let sampling = SamplingParameters::resolve(request.sampling)?;
    if request.prompt.chars().nth(MOST_CHARACTERS).is_some() {
        return Err(Refusal::PromptTooLong);
    }
    let model = state.registry.get(&request.model_id).await?;
    known.model = Some(Arc::clone(&model));
    let adapter = match request.adapter.as_str() {
        "" => None,
        name => Some(state.adapters.get(name, &model.adapted).await?),
    };
    let prompt = state.intake.encode(model.tokenizer.clone(), request.prompt).await?;
    known.prompt_tokens = Some(prompt.len());
    let job = Job { prompt, priority: request.priority, sampling, seed: rand::random(), adapter };
    Ok(model.engine.submit(job)?)
}
