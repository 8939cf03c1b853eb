//! STREAM-004.

use ai_inference_proto::GenerationRequest;
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// index starts at 0.
    ///
    /// # Why it matters
    /// A client that joins a stream late, or resumes one, tells by the index whether it has the beginning.
    ///
    /// # How it is checked
    /// A generation of 8 tokens; the first response's index must be 0.
    ///
    /// # What a violation looks like
    /// The first index is 1.
    ///
    /// # References
    /// Contract, STREAM-004; the interface contract, `StreamPredictResponse.index`.
    id: "STREAM-004",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "index starts at 0",
    check: check,
    mutant: FromOne, fault: "index starts at 1", seen_as: "index 1",
}

async fn check(probe: &Probe) -> Judgement {
    let generation = probe.predict(probe.request(8)).await?;
    generation.served()?;
    let first = generation.responses.first().map_or(0, |r| r.message.index);
    probe.assert(first == 0, || format!("the first response has index {first}, not 0"))
}

#[derive(Default)]
struct FromOne;

impl Behaviour for FromOne {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(responses.map(|r| {
            r.map(|mut m| {
                m.index += 1;
                m
            })
        }))
    }
}
