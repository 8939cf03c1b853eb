//! STREAM-012.

use std::time::Duration;

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
    /// Generations of 1 and 16 tokens and one that lasts six tenths of a second or longer; two more like it at once, and
    /// beside them two that are read slowly; then sixteen shorter ones at once. Each that ends OK must have had its last
    /// message, and none may stop in the middle without an end. An end with another status, a reset or a lost connection
    /// tells the client, and is not this requirement's matter; the first generation must be served. Equal greedy requests
    /// must come to the same end: two texts that are each only the beginning of another one's were cut, however cleanly
    /// they ended; a single one is inconclusive.
    ///
    /// # What a violation looks like
    /// Status OK after twenty responses, none of them the last; or, now and then, a last message in the middle of a text.
    ///
    /// # References
    /// Contract, STREAM-012.
    id: "STREAM-012",
    level: Must,
    dialects: [Contract, CyLlm],
    begins: First,
    since: "0.1.0",
    title: "a started generation reaches its end or an error",
    check: check,
    mutant: CutsLongOnes, fault: "long generations end OK without a last message", seen_as: "without a last message",
}

/// A long generation, alone and beside some more of the same.
const LONG: Duration = Duration::from_millis(600);
const LONG_TOGETHER: usize = 2;
/// Short ones at once: more than the seventh of them is the seventh.
const TOGETHER: usize = 16;
const SHORT: i64 = 16;
/// A slow reader reads nothing until this multiple of a generation's time is over.
const UNREAD: f64 = 1.25;
/// Texts that are the beginning of another, in answer to the same greedy request. One may be a tie that a model breaks
/// now so and now so.
const CUTS: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let first = probe.predict(probe.request(1)).await?;
    ends_well_or_badly(probe, first.served()?)?;
    ends_well_or_badly(probe, &probe.predict(probe.request(16)).await?)?;
    let (one, bound) = probe.lasting(probe.pace().await?, LONG).await?;
    let pause = one.took().mul_f64(UNREAD);
    let mut long = vec![one];
    let (together, slowly) =
        tokio::join!(at_once(probe, bound, LONG_TOGETHER), read_slowly(probe, bound, pause));
    long.extend(together?);
    long.extend(slowly?);
    let short = at_once(probe, SHORT, TOGETHER).await?;
    let mut cut = Vec::new();
    for generations in [long, short] {
        for generation in &generations {
            ends_well_or_badly(probe, generation)?;
        }
        cut.extend(cut_short(&generations));
    }
    probe.assert(cut.len() < CUTS, || {
        format!(
            "{} generations were cut short though they ended OK: equal greedy requests went on where they stopped ({})",
            cut.len(),
            cut[0]
        )
    })?;
    if let [cut] = cut.as_slice() {
        return Err(NotPassed::Inconclusive(format!(
            "one generation ended where an equal greedy request went on ({cut}): it was cut, or the model wavers"
        )));
    }
    Ok(())
}

async fn at_once(probe: &Probe, bound: i64, count: usize) -> Result<Vec<Generation>, NotPassed> {
    let connection = probe.connection().await?;
    let mut together = Vec::new();
    // They may wait for one slot.
    let patience = probe.patience() + LONG * 2 * count as u32;
    let streamer = probe.streamer().with_patience(patience);
    for _ in 0..count {
        let (request, streamer, connection) = (probe.request(bound), streamer.clone(), connection.clone());
        together.push(tokio::spawn(async move {
            let mut stream = streamer.open(&connection).await;
            stream.send(&request);
            stream.half_close();
            stream.finish(request).await
        }));
    }
    let mut generations = Vec::new();
    for generation in together {
        generations.push(generation.await.map_err(|e| NotPassed::Harness(e.to_string()))?);
    }
    Ok(generations)
}

/// A server that cuts by the clock may cut all that it sends at full speed at the same token, and then looks like a model
/// that ends by itself. One that waits for its reader has less text when the clock stops it.
async fn read_slowly(probe: &Probe, bound: i64, pause: Duration) -> Result<Vec<Generation>, NotPassed> {
    let one = || async {
        let connection = probe.connect_narrow().await?;
        let request = probe.request(bound);
        let mut stream = probe.stream_on(&connection).await;
        stream.send(&request);
        stream.half_close();
        tokio::time::sleep(pause).await;
        Ok(stream.finish(request).await)
    };
    let (one, other) = tokio::try_join!(one(), one())?;
    Ok(vec![one, other])
}

/// Those whose text is only the beginning of another's, in words. All answer the same greedy request.
fn cut_short(generations: &[Generation]) -> Vec<String> {
    let whole: Vec<String> =
        generations.iter().filter(|g| g.reached_its_end()).map(Generation::text).collect();
    let goes_on = |text: &str| whole.iter().find(|other| other.len() > text.len() && other.starts_with(text));
    whole
        .iter()
        .filter_map(|text| Some((text, goes_on(text)?)))
        .map(|(text, other)| format!("{} and {} bytes of one text", text.len(), other.len()))
        .collect()
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
