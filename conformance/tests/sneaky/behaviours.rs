//! Behaviours that rows of several tables use.

use ai_inference_proto::{GenerationRequest, Sampling};
use conformance::exemplar::{Behaviour, Conformant, Requests, Script, State};
use futures_util::{StreamExt as _, stream};
use tonic::Status;

/// Refuses more than the exemplar does.
pub(super) struct Admits(pub(super) fn(&GenerationRequest) -> Result<(), Status>);

impl Behaviour for Admits {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        (self.0)(request)?;
        state.admit(request)
    }
}

/// Says what the exemplar would, changed.
pub(super) struct Scripts(pub(super) fn(&GenerationRequest, &mut Script));

impl Behaviour for Scripts {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let mut script = Conformant.speak(request);
        (self.0)(request, &mut script);
        script
    }
}

/// A model that is done after so many tokens, whatever it is asked.
pub(super) struct EndsAfter(pub(super) usize);

impl Behaviour for EndsAfter {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let mut script = Conformant.speak(request);
        script.tokens.truncate(self.0);
        script
    }
}

/// No text comes twice.
pub(super) struct Random;

impl Behaviour for Random {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.map(|s| Sampling { temperature: 1.0, top_p: 0.9, ..s });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}

/// Takes one request a stream, and ends it after its answer.
pub(super) struct OneAStream;

#[tonic::async_trait]
impl Behaviour for OneAStream {
    async fn requests(&self, mut requests: Requests) -> Requests {
        match requests.next().await {
            Some(first) => Box::pin(stream::iter([first])),
            None => requests,
        }
    }
}
