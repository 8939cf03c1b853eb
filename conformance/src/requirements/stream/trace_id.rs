//! STREAM-003.

use ai_inference_proto::{GenerationRequest, Metadata};
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::Probe,
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
    /// Three generations: an ordinary trace_id, one of 200 characters, one in another script with spaces. Every
    /// response of each, the last one too, must carry the same bytes.
    ///
    /// # What a violation looks like
    /// The last message has an empty trace_id; the trace_id is trimmed, lower-cased or replaced.
    ///
    /// # References
    /// Contract, STREAM-003; the interface contract, `StreamPredictResponse.trace_id`.
    id: "STREAM-003",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "every response carries the trace_id",
    check: check,
    mutant: LastWithoutTraceId, fault: "the last message has an empty trace_id", seen_as: "trace_id \"\"",
}

async fn check(probe: &Probe) -> Judgement {
    for trace_id in [probe.trace_id(), "X".repeat(200), " 轨迹 ñ-7 ".to_owned()] {
        let mut request = probe.request(8);
        request.metadata = Some(Metadata { trace_id: trace_id.clone(), ..Metadata::default() });
        let generation = probe.predict(request).await?;
        generation.served()?;
        let count = generation.responses.len();
        for (at, response) in generation.responses.iter().enumerate() {
            probe.assert(response.message.trace_id == trace_id, || {
                format!(
                    "response {} of {count} carries trace_id {:?}, the request {trace_id:?}",
                    at + 1,
                    response.message.trace_id
                )
            })?;
        }
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
