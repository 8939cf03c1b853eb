//! STREAM-002.

use ai_inference_proto::{GenerationRequest, GenerationResponse};

use crate::{
    exemplar::{Behaviour, Responses, rewrite},
    probe::{Generation, Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Nothing follows the last message of a generation.
    ///
    /// # Why it matters
    /// A client that stops reading at end_of_stream loses what comes after; one that goes on reading shows text
    /// that the server had declared finished.
    ///
    /// # How it is checked
    /// Two generations are read to their status, a long one half-closed at once and a short one after its last message. No
    /// response may come after one with end_of_stream = true.
    ///
    /// # What a violation looks like
    /// A chunk after the last message.
    ///
    /// # References
    /// Contract, STREAM-002; the interface contract, `StreamPredictResponse.end_of_stream`.
    id: "STREAM-002",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "nothing follows the last message",
    check: check,
    mutant: OneMoreChunk, fault: "one more chunk after the last message", seen_as: "follow",
}

async fn check(probe: &Probe) -> Judgement {
    let at_once = probe.predict(probe.request(300)).await?;
    nothing_follows(probe, &at_once)?;
    let request = probe.request(8);
    let mut stream = probe.stream().await?;
    stream.send(&request);
    let later = stream.half_close_after_last(request).await;
    nothing_follows(probe, &later)
}

fn nothing_follows(probe: &Probe, generation: &Generation) -> Judgement {
    generation.served()?;
    let Some(last) = generation.responses.iter().position(|r| r.message.end_of_stream) else {
        return Err(NotPassed::Inconclusive("no last message came (STREAM-001)".into()));
    };
    let after = &generation.responses[last + 1..];
    probe.assert(after.is_empty(), || {
        let chunks: String = after.iter().map(|r| r.message.chunk.as_str()).collect();
        format!("{} responses follow the last message, with the text {}", after.len(), quote(&chunks, 60))
    })
}

#[derive(Default)]
struct OneMoreChunk;

impl Behaviour for OneMoreChunk {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        rewrite(responses, |message| {
            let index = message.index + 1;
            let more =
                GenerationResponse { chunk: "more".into(), index, end_of_stream: false, ..message.clone() };
            if message.end_of_stream { vec![message, more] } else { vec![message] }
        })
    }
}
