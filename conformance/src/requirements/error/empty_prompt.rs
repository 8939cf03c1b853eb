//! ERROR-005.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State, Turn},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// An empty prompt is served or INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// Some user will press Enter in an empty box. A model that is given no token at all may wait for one for ever, and
    /// keep its slot.
    ///
    /// # How it is checked
    /// An ordinary prompt must be served. Then three requests with an empty prompt are sent, the second while the first
    /// runs, and the third without metadata. Each must end OK with at least one response (a model may have nothing to say),
    /// or with INVALID_ARGUMENT before any. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// A hang, INTERNAL, or OK without any response.
    ///
    /// # References
    /// Contract, ERROR-005.
    id: "ERROR-005",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an empty prompt is served or INVALID_ARGUMENT",
    check: check,
    mutant: Hangs, fault: "an empty prompt gets no answer", seen_as: "no answer within",
}

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let empty = || GenerationRequest { prompt: String::new(), ..probe.request(4) };
    let (one, other) = tokio::join!(judge(probe, empty()), judge(probe, empty()));
    one?;
    other?;
    judge(probe, GenerationRequest { metadata: None, ..empty() }).await?;
    probe.still_serves("empty prompts").await
}

async fn judge(probe: &Probe, request: GenerationRequest) -> Judgement {
    let without = if request.metadata.is_none() { " and no metadata" } else { "" };
    let generation = probe.predict(request).await?;
    if generation.end.is_full() && generation.responses.is_empty() {
        let told = generation.end.told();
        return Err(NotPassed::Inconclusive(format!("an empty prompt {told}: the server is full")));
    }
    let count = generation.responses.len();
    let served = generation.end.is_ok() && count > 0;
    let refused = generation.end.code() == Some(Code::InvalidArgument) && count == 0;
    probe.assert(served || refused, || {
        let told = generation.end.told();
        format!("an empty prompt{without} {told} with {count} responses, not OK with a response, or INVALID_ARGUMENT")
    })
}

#[derive(Default)]
struct Hangs;

#[tonic::async_trait]
impl Behaviour for Hangs {
    async fn turn(&self, _state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        if request.prompt.is_empty() {
            std::future::pending::<()>().await;
        }
        Ok(Box::new(()))
    }
}
