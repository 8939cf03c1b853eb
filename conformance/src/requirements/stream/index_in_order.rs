//! STREAM-006.

use ai_inference_proto::GenerationRequest;

use crate::{
    exemplar::{Behaviour, Responses, rewrite},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Responses come in the order of their index.
    ///
    /// # Why it matters
    /// Clients append chunks as they come. Two responses in the wrong order are a garbled sentence.
    ///
    /// # How it is checked
    /// A generation of 32 tokens; on the wire, each response's index must be larger than the one before.
    ///
    /// # What a violation looks like
    /// Index 3 comes before index 2.
    ///
    /// # References
    /// Contract, STREAM-006; gRPC core concepts (message order within a stream is kept).
    id: "STREAM-006",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "responses come in the order of their index",
    check: check,
    mutant: SwapsTwo, fault: "two responses are swapped", seen_as: "comes after",
}

async fn check(probe: &Probe) -> Judgement {
    let generation = probe.predict(probe.request(32)).await?;
    generation.served()?;
    let indexes: Vec<i64> = generation.responses.iter().map(|r| r.message.index).collect();
    for pair in indexes.windows(2) {
        // An index that repeats is STREAM-005's matter.
        probe.assert(pair[1] >= pair[0], || format!("index {} comes after index {}", pair[1], pair[0]))?;
    }
    Ok(())
}

#[derive(Default)]
struct SwapsTwo;

impl Behaviour for SwapsTwo {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let mut held = None;
        rewrite(responses, move |message| {
            if message.index == 1 && !message.end_of_stream {
                held = Some(message);
                return vec![];
            }
            [Some(message), held.take()].into_iter().flatten().collect()
        })
    }
}
