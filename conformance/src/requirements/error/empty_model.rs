//! ERROR-002.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// An empty model_id is served by the default model, or NOT_FOUND/INVALID_ARGUMENT; never INTERNAL.
    ///
    /// # Why it matters
    /// In proto3 a client that names no model sends an empty string. It must get text, or learn that it must name one;
    /// INTERNAL says that the server is broken.
    ///
    /// # How it is checked
    /// A request for a model must be served. Then three requests with an empty model_id are sent, one after the other and
    /// the last without metadata: each must end OK with text, or be refused with NOT_FOUND or INVALID_ARGUMENT before any
    /// response. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// INTERNAL, because the empty name is looked up like another.
    ///
    /// # References
    /// Contract, ERROR-002.
    id: "ERROR-002",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an empty model_id is served or refused by name",
    check: check,
    mutant: EmptyIsInternal, fault: "an empty model_id is INTERNAL", seen_as: "INTERNAL",
}

const ACCEPTED: [Code; 2] = [Code::NotFound, Code::InvalidArgument];

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let unnamed = || GenerationRequest { model_id: String::new(), ..probe.request(4) };
    for request in [unnamed(), unnamed(), GenerationRequest { metadata: None, ..unnamed() }] {
        let generation = probe.predict(request).await?;
        if generation.end.is_full() && generation.responses.is_empty() {
            let told = generation.end.told();
            return Err(NotPassed::Inconclusive(format!(
                "a request with an empty model_id {told}: the server is full"
            )));
        }
        let refused = generation.end.code().is_some_and(|code| ACCEPTED.contains(&code));
        probe.assert(generation.served().is_ok() || refused && generation.responses.is_empty(), || {
            let (end, count) = (generation.end.told(), generation.responses.len());
            format!(
                "a request with an empty model_id {end} with {count} responses, not OK with text, NOT_FOUND or \
                 INVALID_ARGUMENT"
            )
        })?;
    }
    probe.still_serves("requests with an empty model_id").await
}

#[derive(Default)]
struct EmptyIsInternal;

impl Behaviour for EmptyIsInternal {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.model_id.is_empty() {
            return Err(Status::internal("KeyError: ''"));
        }
        state.admit(request)
    }
}
