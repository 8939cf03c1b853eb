//! STREAM-007.

use std::time::Duration;

use ai_inference_proto::{GenerationRequest, GenerationResponse};
use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Text is streamed: for a generation of 32 or more tokens there are at least two text-bearing responses, and
    /// the first comes well before the last.
    ///
    /// # Why it matters
    /// Streaming is what the service is for. A backend that gathers the text and sends it at the end passes every
    /// test that looks at the text alone, and every user waits.
    ///
    /// # How it is checked
    /// A one-token generation tells how long a first token takes; a long one (32 tokens, then 128, then 512, until
    /// it lasts long enough to tell) must bring at least two text-bearing responses, the first of them in the first
    /// half of the time between one token and the end. A late one in less than a second is asked again with a longer one, and
    /// in the end up to three times: one late chunk is the machine's.
    ///
    /// # What a violation looks like
    /// The whole text in one response; or many responses, all of them at the end.
    ///
    /// # References
    /// Contract, STREAM-007; the interface contract, `StreamPredictResponse.chunk`.
    id: "STREAM-007",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "text is streamed",
    check: check,
    mutant: AllAtOnce, fault: "the whole text comes at once", seen_as: "one response",
}

/// Tokens of the long generation; the next is tried when one is over too soon to tell.
const LENGTHS: [i64; 3] = [32, 128, 512];
/// A generation shorter than this beyond its first token is lost in the scheduler's noise.
const RESOLUTION: Duration = Duration::from_millis(30);
/// Beyond the first token: in so long a time a busy machine's hiccups are small, and a longer one would only take longer.
const SURE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;
/// Characters: fewer than this cannot be 32 tokens.
const LEAST_TEXT: usize = 40;

async fn check(probe: &Probe) -> Judgement {
    let one = probe.predict(probe.request(1)).await?;
    one.served()?;
    let first_token = one.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
    let mut late = Vec::new();
    let mut lengths = LENGTHS.into_iter();
    let mut tokens = lengths.next();
    while let Some(length) = tokens {
        let generation = probe.predict(probe.request(length)).await?;
        generation.served()?;
        let text = generation.text();
        if text.chars().count() < LEAST_TEXT {
            return Err(NotPassed::Inconclusive(format!(
                "the model ended by itself after {}",
                quote(&text, 60)
            )));
        }
        let chunks = generation.text_bearing().count();
        probe.assert(chunks >= 2, || {
            format!("the whole text, {} characters, came in one response", text.chars().count())
        })?;
        let first = generation.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
        let end = generation.responses.last().map_or(first, |r| r.at);
        let span = end.saturating_sub(first_token);
        if span < RESOLUTION {
            tokens = lengths.next();
            continue;
        }
        if first <= first_token + span / 2 {
            return Ok(());
        }
        // A busy machine holds a short generation back as a server would; a longer one it cannot.
        if span < SURE
            && let Some(longer) = lengths.next()
        {
            tokens = Some(longer);
            continue;
        }
        late.push(format!("{:.0} of {:.0} ms", first.as_secs_f64() * 1e3, end.as_secs_f64() * 1e3));
        probe.assert(late.len() < TRIES as usize, || {
            format!(
                "the first text came late in every try ({}), though one token takes {:.0} ms: it is held back",
                late.join(", "),
                first_token.as_secs_f64() * 1e3
            )
        })?;
    }
    Ok(()) // too quick to be timed, and in several pieces
}

#[derive(Default)]
struct AllAtOnce;

impl Behaviour for AllAtOnce {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let mut text = String::new();
        Box::pin(responses.filter_map(move |r| match r {
            Ok(m) if !m.end_of_stream => {
                text.push_str(&m.chunk);
                None
            }
            other => {
                Some(other.map(|m| GenerationResponse { chunk: std::mem::take(&mut text), index: 0, ..m }))
            }
        }))
    }
}
