//! STREAM-003.

use ai_inference_proto::{GenerationRequest, Metadata};
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Generation, Probe},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Every response carries the request's trace_id, byte for byte.
    ///
    /// # Why it matters
    /// Traces, logs and clients that multiplex generations find a response's owner by it. One response without it
    /// breaks all three.
    ///
    /// # How it is checked
    /// Four generations: an ordinary trace_id over 64 tokens, one of 1,000 characters, one in another script with spaces
    /// at its ends and a combining mark, and an upper-case UUID with a line break. Every response of each, the last one
    /// too, must carry the same bytes; so must every response to a request with an empty prompt, where that is served.
    ///
    /// # What a violation looks like
    /// The last message has an empty trace_id; the trace_id is trimmed, lower-cased or replaced.
    ///
    /// # References
    /// Contract, STREAM-003; the interface contract, `StreamPredictResponse.trace_id`.
    id: "STREAM-003",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "every response carries the trace_id",
    check: check,
    mutant: LastWithoutTraceId, fault: "the last message has an empty trace_id", seen_as: "trace_id \"\"",
}

async fn check(probe: &Probe) -> Judgement {
    for (trace_id, tokens) in [
        (probe.trace_id(), 64),
        ("X".repeat(1000), 8),
        (" 轨迹 n\u{303} ñ-7 ".to_owned(), 8),
        ("6F9619FF-8B86-D011-B42D-00C04FC964FF\nline two".to_owned(), 8),
    ] {
        let mut request = probe.request(tokens);
        request.metadata = Some(Metadata { trace_id: trace_id.clone(), ..Metadata::default() });
        let generation = probe.predict(request).await?;
        generation.served()?;
        carries(probe, &generation, "")?;
    }
    // What becomes of an empty prompt is ERROR-005's matter; what is answered to it carries the trace_id too.
    let empty = GenerationRequest { prompt: String::new(), ..probe.request(8) };
    let generation = probe.predict(empty).await?;
    carries(probe, &generation, " to an empty prompt")
}

fn carries(probe: &Probe, generation: &Generation, to: &str) -> Judgement {
    let (count, wanted) = (generation.responses.len(), generation.request.trace_id());
    for (at, response) in generation.responses.iter().enumerate() {
        let got = &response.message.trace_id;
        probe.assert(got == wanted, || {
            format!("response {} of {count}{to} carries trace_id {got:?}, the request {wanted:?}", at + 1)
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct LastWithoutTraceId;

impl Behaviour for LastWithoutTraceId {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(responses.map(|r| {
            r.map(|mut m| {
                if m.end_of_stream {
                    m.trace_id.clear();
                }
                m
            })
        }))
    }
}
