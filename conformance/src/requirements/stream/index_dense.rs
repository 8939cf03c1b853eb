//! STREAM-005.

use ai_inference_proto::GenerationRequest;
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// index grows by exactly 1 with each response.
    ///
    /// # Why it matters
    /// A gap means that text was lost on the way; a repeat means that it came twice. Neither can be seen if the
    /// numbers have gaps of their own.
    ///
    /// # How it is checked
    /// A generation of 300 tokens, more than a byte can count. The indexes of its responses, sorted, must be neighbours: no gap, no repeat.
    /// Their order on the wire is STREAM-006's matter.
    ///
    /// # What a violation looks like
    /// Indexes 0 1 2 3 5 6 7 8 10; or every response has index 0.
    ///
    /// # References
    /// Contract, STREAM-005; the interface contract, `StreamPredictResponse.index`.
    id: "STREAM-005",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "index grows by exactly 1",
    check: check,
    mutant: SkipsEveryFifth, fault: "every fifth index is skipped", seen_as: "index",
}

/// More responses than a byte can count, where a chunk is a token.
const TOKENS: i64 = 300;

async fn check(probe: &Probe) -> Judgement {
    let generation = probe.predict(probe.request(TOKENS)).await?;
    generation.served()?;
    let mut indexes: Vec<i64> = generation.responses.iter().map(|r| r.message.index).collect();
    indexes.sort_unstable();
    for pair in indexes.windows(2) {
        probe.assert(pair[1] == pair[0] + 1, || {
            let what = if pair[1] == pair[0] { "a repeat" } else { "a gap" };
            format!("{what} in the index: {} and then {} (of {} responses)", pair[0], pair[1], indexes.len())
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct SkipsEveryFifth;

impl Behaviour for SkipsEveryFifth {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(responses.map(|r| {
            r.map(|mut m| {
                m.index += m.index / 4;
                m
            })
        }))
    }
}
