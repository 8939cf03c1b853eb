//! STREAM-001.

use ai_inference_proto::GenerationRequest;
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Generation, Probe},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A generation ends with exactly one message with end_of_stream = true, then status OK after the client has
    /// half-closed.
    ///
    /// # Why it matters
    /// end_of_stream is how a client that keeps its stream open knows that the text is whole. Without it, a client
    /// waits for ever or shows a cut text as a finished one; with two of them it stops too early.
    ///
    /// # How it is checked
    /// Three generations: one token and eight tokens with the half-close sent at once, and eight tokens with the
    /// half-close sent only after the last message. Each must hold exactly one response with end_of_stream = true and
    /// end with status OK.
    ///
    /// # What a violation looks like
    /// Status OK after responses none of which is marked as the last; or two that are.
    ///
    /// # References
    /// Contract, STREAM-001; the interface contract, `StreamPredictResponse.end_of_stream`.
    id: "STREAM-001",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "exactly one last message, then OK",
    check: check,
    mutant: NoLastMessage, fault: "no last message", seen_as: "0 of",
}

async fn check(probe: &Probe) -> Judgement {
    for tokens in [1, 8] {
        let generation = probe.predict(probe.request(tokens)).await?;
        ends_once(probe, &generation)?;
    }
    let request = probe.request(8);
    let mut stream = probe.stream().await?;
    stream.send(&request);
    let generation = stream.half_close_after_last(request).await;
    ends_once(probe, &generation)
}

fn ends_once(probe: &Probe, generation: &Generation) -> Judgement {
    generation.served()?;
    probe.assert(generation.end.is_ok(), || {
        format!("a complete generation {}, not OK", generation.end.told())
    })?;
    let last = generation.responses.iter().filter(|r| r.message.end_of_stream).count();
    probe.assert(last == 1, || {
        format!(
            "{last} of {} responses have end_of_stream = true; exactly one must",
            generation.responses.len()
        )
    })
}

#[derive(Default)]
struct NoLastMessage;

impl Behaviour for NoLastMessage {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(responses.filter(|r| !r.as_ref().is_ok_and(|m| m.end_of_stream)))
    }
}
