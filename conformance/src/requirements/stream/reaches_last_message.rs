//! STREAM-012.

use ai_inference_proto::GenerationRequest;
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Unless cancelled, a started generation reaches its last message, or the call ends with a non-OK status.
    ///
    /// # Why it matters
    /// OK after half an answer is the worst failure there is: every layer above believes it, stores it and bills
    /// it.
    ///
    /// # How it is checked
    /// Generations of 1, 16, 64 and the default number of tokens, then four at once. Each that ends OK must have
    /// had its last message. Ends with another status are not this requirement's matter, but at least one must end
    /// OK.
    ///
    /// # What a violation looks like
    /// Status OK after twenty responses, none of them the last.
    ///
    /// # References
    /// Contract, STREAM-012.
    id: "STREAM-012",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a started generation reaches its end or an error",
    check: check,
    mutant: CutsLongOnes, fault: "long generations end OK without a last message", seen_as: "without a last message",
}

async fn check(probe: &Probe) -> Judgement {
    let mut generations = Vec::new();
    for tokens in [1, 16, 64, 0] {
        generations.push(probe.predict(probe.request(tokens)).await?);
    }
    let connection = probe.connection().await?;
    let together = [32, 33, 34, 35].map(|tokens| probe.predict_on(&connection, probe.request(tokens)));
    let [a, b, c, d] = together;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    generations.extend([a, b, c, d]);
    for generation in &generations {
        if generation.end.is_ok() {
            let count = generation.responses.len();
            let last = generation.responses.iter().any(|r| r.message.end_of_stream);
            probe.assert(last, || {
                format!("a generation ended OK after {count} responses, without a last message")
            })?;
        }
    }
    if let Some(ended) = generations.iter().find(|g| !g.end.is_ok()) {
        ended.served()?; // words for a server that ends none of its generations well
    }
    Ok(())
}

#[derive(Default)]
struct CutsLongOnes;

impl Behaviour for CutsLongOnes {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(responses.take(20))
    }
}
