//! STREAM-010.

use std::collections::BTreeSet;

use ai_inference_proto::{GenerationRequest, GenerationResponse, Metadata};
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A request without trace_id is answered under one fresh, non-empty trace_id.
    ///
    /// # Why it matters
    /// A generation without an id cannot be found in any log.
    ///
    /// # How it is checked
    /// Two generations, one without `metadata` and one with an empty trace_id. All responses of each must carry one
    /// non-empty trace_id, and the two must differ.
    ///
    /// # What a violation looks like
    /// An empty trace_id on every response; a constant; another one on each response.
    ///
    /// # References
    /// Contract, STREAM-010.
    id: "STREAM-010",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a request without trace_id gets a fresh one",
    check: check,
    mutant: StaysEmpty, fault: "trace_id stays empty", seen_as: "empty trace_id",
}

async fn check(probe: &Probe) -> Judgement {
    let mut given = Vec::new();
    for metadata in [None, Some(Metadata::default())] {
        let generation = probe.predict(GenerationRequest { metadata, ..probe.request(4) }).await?;
        generation.served()?;
        let ids: BTreeSet<_> = generation.responses.iter().map(|r| r.message.trace_id.clone()).collect();
        probe.assert(!ids.contains(""), || {
            "a request without trace_id was answered under an empty trace_id".to_owned()
        })?;
        probe.assert(ids.len() == 1, || {
            format!("one generation was answered under {} trace_ids: {ids:?}", ids.len())
        })?;
        given.extend(ids);
    }
    probe.assert(given[0] != given[1], || {
        format!("two requests without trace_id got the same one, {:?}", given[0])
    })
}

#[derive(Default)]
struct StaysEmpty;

impl Behaviour for StaysEmpty {
    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        let trace_id = request.trace_id().to_owned();
        Box::pin(responses.map(move |r| r.map(|m| GenerationResponse { trace_id: trace_id.clone(), ..m })))
    }
}
