//! Requests with one parameter outside its legal range, for the checks that they are refused.

use ai_inference_proto::GenerationRequest;
use futures_util::future::join_all;
use tonic::Code;

use crate::{
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

/// A parameter of `generation` that is a real number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parameter {
    Temperature,
    TopP,
    RepetitionPenalty,
}

impl Parameter {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::RepetitionPenalty => "repetition_penalty",
        }
    }

    /// A short request that is legal but for this parameter.
    fn request(self, probe: &Probe, value: f64) -> GenerationRequest {
        let mut request = probe.request(4);
        if let Some(sampling) = &mut request.sampling {
            match self {
                Self::Temperature => sampling.temperature = value,
                Self::TopP => sampling.top_p = value,
                Self::RepetitionPenalty => sampling.repetition_penalty = value,
            }
        }
        request
    }
}

/// Each value of the parameter must be refused with INVALID_ARGUMENT before any response. All that were not are named.
pub(super) async fn refused(probe: &Probe, parameter: Parameter, values: &[f64]) -> Judgement {
    let asked = values.iter().map(|value| Box::pin(probe.predict(parameter.request(probe, *value))));
    let mut wrong = Vec::new();
    for (value, generation) in values.iter().zip(join_all(asked).await) {
        let generation = generation?;
        let name = parameter.name();
        if generation.end.is_full() {
            let told = generation.end.told();
            return Err(NotPassed::Inconclusive(format!("{name} {value} {told}: nothing was looked at")));
        }
        let refused = generation.end.code() == Some(Code::InvalidArgument) && generation.responses.is_empty();
        if !refused {
            let (told, count) = (generation.end.told(), generation.responses.len());
            wrong.push(format!("{name} {value} {told} after {count} responses"));
        }
    }
    probe.assert(wrong.is_empty(), || format!("{}, not INVALID_ARGUMENT", wrong.join("; ")))
}
