//! SAMPLING-005.

use ai_inference_proto::{GenerationRequest, Sampling};
use tonic::Status;

use super::illegal::{Parameter, refused};
use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// temperature, top_p or repetition_penalty that is NaN, infinite or negative is INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// A NaN goes through a sampler without an error and comes out as nonsense, or as the first token of the vocabulary for
    /// ever. The client that sent it has a bug, and nothing tells it so.
    ///
    /// # How it is checked
    /// Each of the three parameters is sent as NaN, as both infinities, as -1 and as -0.001, all other parameters being legal.
    /// Each request must be refused with INVALID_ARGUMENT before any response; then the server must still serve. A server on
    /// which this fails has to check the parameters before it generates.
    ///
    /// # What a violation looks like
    /// Text, or INTERNAL.
    ///
    /// # References
    /// Contract, SAMPLING-005; Protocol Buffers, "Encoding" (a float may be NaN or infinite).
    id: "SAMPLING-005",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "NaN, infinite and negative parameters are INVALID_ARGUMENT",
    check: check,
    mutant: TakesNoNumbers, fault: "a NaN is accepted", seen_as: "temperature NaN",
}

const ILLEGAL: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.001];

async fn check(probe: &Probe) -> Judgement {
    for parameter in [Parameter::Temperature, Parameter::TopP, Parameter::RepetitionPenalty] {
        refused(probe, parameter, &ILLEGAL).await?;
    }
    probe.still_serves("parameters that are no numbers or negative").await
}

/// Reads NaN as unset.
#[derive(Default)]
struct TakesNoNumbers;

impl Behaviour for TakesNoNumbers {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let number = |value: f64| if value.is_nan() { 0.0 } else { value };
        let sampling = request.sampling.map(|s| Sampling {
            temperature: number(s.temperature),
            top_p: number(s.top_p),
            repetition_penalty: number(s.repetition_penalty),
            ..s
        });
        state.admit(&GenerationRequest { sampling, ..request.clone() })
    }
}
