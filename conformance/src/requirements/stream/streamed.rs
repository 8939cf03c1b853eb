//! STREAM-007.

use std::time::Duration;

use ai_inference_proto::{GenerationRequest, GenerationResponse};
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::Probe,
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
    /// A one-token generation tells how long a first token takes. Longer ones (32 tokens, then 128, 512, 2,048 and 8,192,
    /// until one lasts long enough to tell) must bring at least two text-bearing responses, the first of them in the first
    /// quarter of the time between one token and the end, with two lengths, and no later with more tokens; the best of
    /// three tries counts, since one late chunk is the machine's. A first text that is late in a generation of a quarter of a second or more, and at least twice as late in
    /// one four times as long, was held back until the answer was computed: a server that gathers some tokens into a chunk
    /// is late once, but not later with every bound. Where every generation is over too soon for the clock, or the model
    /// ends by itself, the check says so.
    ///
    /// # What a violation looks like
    /// The whole text in one response; or many responses, the first of which comes when the answer is complete.
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

/// Tokens of the long generation; the next is tried when one is over too soon to tell, or its first text was late.
const LENGTHS: [i64; 5] = [32, 128, 512, 2048, 8192];
/// A generation shorter than this beyond its first token may fit into one time slice of a busy machine: being late in it
/// says nothing.
const CLOCK: Duration = Duration::from_millis(250);
/// One shorter than this says nothing at all.
const RESOLUTION: Duration = Duration::from_millis(5);
/// "Well before the last": within this part of the time from one token to the end.
const EARLY: u32 = 4;
/// Four times as many tokens, held back, are this many times as late, at least.
const GROWS: u32 = 2;
const TRIES: u32 = 3;
/// Characters: fewer than this cannot be 32 tokens.
const LEAST_TEXT: usize = 40;

async fn check(probe: &Probe) -> Judgement {
    let mut first_token = Duration::MAX;
    for _ in 0..2 {
        let one = probe.predict(probe.request(1)).await?;
        one.served()?;
        first_token = first_token.min(one.text_bearing().next().map_or(Duration::ZERO, |r| r.at));
    }
    let mut before: Option<Look> = None;
    let mut spoken = 0;
    for length in LENGTHS {
        let Some(look) = look(probe, length, first_token).await? else { break };
        // On a busy machine one token may take as long as all of them did a moment later: so two lengths must agree.
        let steady = before.is_some_and(|before| before.early() && look.steady_since(&before));
        if look.early() && steady {
            return probe.assert(true, String::new);
        }
        let grew = look.characters > spoken * 2;
        spoken = look.characters;
        if let Some(before) = before.replace(look) {
            let held = !look.early()
                && look.span >= CLOCK
                && before.span >= CLOCK / 4
                && look.late >= before.late * GROWS
                && grew;
            probe.assert(!held, || {
                format!(
                    "the first text comes later the longer the answer is: after {:.0} of {:.0} ms with {} tokens, after \
                     {:.0} of {:.0} ms with {} (the best of {TRIES} tries each), though one token takes {:.0} ms: it is \
                     held back until the answer is computed",
                    millis(before.late + first_token),
                    millis(before.span + first_token),
                    before.length,
                    millis(look.late + first_token),
                    millis(look.span + first_token),
                    look.length,
                    millis(first_token)
                )
            })?;
        }
        if !grew {
            break; // the model ended by itself: a larger bound shows no more
        }
    }
    if before.is_some_and(|look| look.early() && look.span >= RESOLUTION) {
        return probe.assert(true, String::new);
    }
    Err(NotPassed::Inconclusive(before.map_or_else(
        || "the model ended by itself at once: nothing could be streamed".to_owned(),
        |look| {
            format!(
                "the text came in several pieces, but the generation was over after {:.0} ms, with the first text after \
                 {:.0} ms: too soon for the clock to tell whether it was held back",
                millis(look.span + first_token),
                millis(look.late + first_token)
            )
        },
    )))
}

/// The best of the tries with one bound: the times of the first text and of the end, and both beyond what one token takes.
#[derive(Clone, Copy, Debug)]
struct Look {
    length: i64,
    first: Duration,
    end: Duration,
    late: Duration,
    span: Duration,
    characters: usize,
}

impl Look {
    fn early(&self) -> bool {
        self.late * EARLY <= self.span
    }

    /// With more tokens the end came later and the first text did not: whatever one token takes.
    fn steady_since(&self, before: &Self) -> bool {
        let longer = self.end.saturating_sub(before.end);
        longer >= RESOLUTION && self.first.saturating_sub(before.first) * EARLY <= longer
    }
}

/// Asks with one bound until the first text is early; `None` where the model says too little or refuses the bound.
async fn look(probe: &Probe, length: i64, first_token: Duration) -> Result<Option<Look>, NotPassed> {
    let mut best: Option<Look> = None;
    for _ in 0..TRIES {
        let generation = probe.predict(probe.request(length)).await?;
        if length > LENGTHS[0] && generation.end.code() == Some(Code::InvalidArgument) {
            break; // beyond the server's context
        }
        generation.served()?;
        let characters = generation.text().chars().count();
        if characters < LEAST_TEXT {
            break;
        }
        let chunks = generation.text_bearing().count();
        probe.assert(chunks >= 2, || {
            format!("the whole text, {characters} characters, came in one response")
        })?;
        let first = generation.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
        let end = generation.responses.last().map_or(first, |r| r.at);
        let (late, span) = (first.saturating_sub(first_token), end.saturating_sub(first_token));
        let look = Look { length, first, end, late, span, characters };
        if best.is_none_or(|best| late * 1000 / ms(span) < best.late * 1000 / ms(best.span)) {
            best = Some(look);
        }
        if look.early() {
            break;
        }
    }
    Ok(best)
}

fn ms(span: Duration) -> u32 {
    span.as_millis().max(1) as u32
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
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
