//! SAMPLING-001.

use ai_inference_proto::{GenerationRequest, Sampling};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A request without `generation` is served with defaults.
    ///
    /// # Why it matters
    /// In proto3 every parameter is optional, and the documented client leaves most of them out.
    ///
    /// # How it is checked
    /// A request without a `generation` message, one with an empty one, and one that sets only max_new_tokens are
    /// sent; each must be served with text.
    ///
    /// # What a violation looks like
    /// INVALID_ARGUMENT, or an empty text because unset was read as zero tokens.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-001; Protocol Buffers, "Default values".
    id: "SAMPLING-001",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a request without generation is served with defaults",
    check: check,
    mutant: WantsGeneration, fault: "a request without generation is INVALID_ARGUMENT", seen_as: "INVALID_ARGUMENT",
}

async fn check(probe: &Probe) -> Judgement {
    let only_bound = Sampling { max_new_tokens: 8, ..Sampling::default() };
    for sampling in [None, Some(Sampling::default()), Some(only_bound)] {
        let generation = probe.predict(GenerationRequest { sampling, ..probe.request(8) }).await?;
        generation.served()?;
        probe.assert(true, String::new)?;
    }
    Ok(())
}

#[derive(Default)]
struct WantsGeneration;

impl Behaviour for WantsGeneration {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.sampling.is_none() {
            return Err(Status::invalid_argument("generation is missing"));
        }
        state.admit(request)
    }
}
