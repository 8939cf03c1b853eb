//! STREAM-012.

use ai_inference_proto::GenerationRequest;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Generation, Probe, wire::End},
    requirement::{Judgement, NotPassed},
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
    /// Generations of 1, 16, 64 and the default number of tokens, then sixteen at once. Each that ends OK must have had its
    /// last message, and none may stop in the middle without an end. An end with another status, a reset or a lost
    /// connection tells the client, and is not this requirement's matter; the first generation must be served.
    ///
    /// # What a violation looks like
    /// Status OK after twenty responses, none of them the last.
    ///
    /// # References
    /// Contract, STREAM-012.
    id: "STREAM-012",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a started generation reaches its end or an error",
    check: check,
    mutant: CutsLongOnes, fault: "long generations end OK without a last message", seen_as: "without a last message",
}

/// Generations that run at once.
const TOGETHER: i64 = 16;

async fn check(probe: &Probe) -> Judgement {
    let first = probe.predict(probe.request(1)).await?;
    ends_well_or_badly(probe, first.served()?)?;
    for tokens in [16, 64, 0] {
        ends_well_or_badly(probe, &probe.predict(probe.request(tokens)).await?)?;
    }
    let connection = probe.connection().await?;
    let mut together = Vec::new();
    for tokens in 24..24 + TOGETHER {
        let request = probe.request(tokens);
        let mut stream = probe.stream_on(&connection).await;
        stream.send(&request);
        stream.half_close();
        together.push(tokio::spawn(stream.finish(request)));
    }
    for generation in together {
        let generation = generation.await.map_err(|e| NotPassed::Harness(e.to_string()))?;
        ends_well_or_badly(probe, &generation)?;
    }
    Ok(())
}

/// Well: with the last message. Badly: so that the client knows.
fn ends_well_or_badly(probe: &Probe, generation: &Generation) -> Judgement {
    let looks_whole = match &generation.end {
        End::Status(status) => status.code == Code::Ok,
        End::NoStatus { .. } | End::TimedOut(_) => true, // nothing tells the client that more was to come
        End::Reset(_) | End::Closed(_) | End::Malformed(_) => false,
    };
    let last = generation.responses.iter().any(|r| r.message.end_of_stream);
    probe.assert(last || !looks_whole, || {
        let count = generation.responses.len();
        format!("a generation {} after {count} responses, without a last message", generation.end.told())
    })
}

#[derive(Default)]
struct CutsLongOnes;

impl Behaviour for CutsLongOnes {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(responses.take(20))
    }
}
