//! SAMPLING-001.

use ai_inference_proto::{GenerationRequest, Sampling};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A request without `generation` is served with defaults.
    ///
    /// # Why it matters
    /// In proto3 every parameter is optional, and the documented client leaves most of them out.
    ///
    /// # How it is checked
    /// A request without a `generation` message and one with an empty one are sent; each must be served with text. Then
    /// greedy requests with max_new_tokens of 8, of 32 and unset: where 32 gives more text than 8, unset must too.
    ///
    /// # What a violation looks like
    /// INVALID_ARGUMENT, or an empty text because unset was read as zero tokens.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-001; Protocol Buffers, "Default values".
    id: "SAMPLING-001",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a request without generation is served with defaults",
    check: check,
    mutant: WantsGeneration, fault: "a request without generation is INVALID_ARGUMENT", seen_as: "INVALID_ARGUMENT",
}

async fn check(probe: &Probe) -> Judgement {
    for sampling in [None, Some(Sampling::default())] {
        let generation = probe.predict(GenerationRequest { sampling, ..probe.request(8) }).await?;
        generation.served()?;
        probe.assert(true, String::new)?;
    }
    // Unset means 256 tokens: more than eight, where the model has more than eight to say.
    let eight = length(probe, 8).await?;
    let more = length(probe, 32).await?;
    let unset = length(probe, 0).await?;
    probe.assert(unset > eight || more <= eight, || {
        format!("max_new_tokens unset gave {unset} bytes of text, 8 gave {eight} and 32 gave {more}; unset means 256")
    })
}

/// Bytes of a greedy text.
async fn length(probe: &Probe, max_new_tokens: i64) -> Result<usize, NotPassed> {
    let generation = probe.predict(probe.request(max_new_tokens)).await?;
    Ok(generation.served()?.text().len())
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
