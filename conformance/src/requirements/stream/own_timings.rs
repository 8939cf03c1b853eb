//! STREAM-015.

use std::time::Duration;

use ai_inference_proto::GenerationResponse;

use crate::{
    exemplar::{Behaviour, Responses, rewrite},
    probe::{Generation, Probe, wire::time},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// ttft_ms and tokens_per_sec on the last message are finite, not negative, and not larger than the client saw can
    /// explain.
    ///
    /// # Why it matters
    /// Dashboards and routers add these figures up. One NaN makes every mean that it enters a NaN, and a server that counts in
    /// the wrong unit looks a thousand times as fast as it is.
    ///
    /// # How it is checked
    /// Greedy generations of one token, of two, and of as many as last a third of a second. On the last message of each both
    /// figures must be finite and not negative; zero is unset. ttft_ms may not be longer than the client itself waited for the
    /// first text, and tokens_per_sec of the long one not more than four times the tokens of its bound in the time that its
    /// text took; a figure that is too large is asked for again, twice, before it is blamed.
    ///
    /// # What a violation looks like
    /// NaN or infinity after a single token, because its time was divided by nothing; seconds in a field of milliseconds.
    ///
    /// # References
    /// Contract, section 0 and STREAM-015; the deployed `ai_service.proto`, `StreamPredictResponse`.
    id: "STREAM-015",
    level: Must,
    dialects: [CyLlm],
    since: "0.1.0",
    title: "the server's own timings are possible",
    check: check,
    mutant: NotANumber, fault: "tokens_per_sec is NaN", seen_as: "tokens_per_sec NaN",
}

/// A division by the time, or the number, of later tokens shows at these.
const SHORT: [i64; 2] = [1, 2];
/// Long enough for a rate.
const LONG: Duration = Duration::from_millis(330);
/// A generation that is over sooner gives no rate to compare with.
const LEAST: Duration = Duration::from_millis(100);
/// A server may write faster than the network carries, and count a little other than its client.
const FASTER: f64 = 4.0;
/// The same for the first text: a part of it, and the two clocks' grain.
const LATER: f64 = 1.1;
const GRAIN_MS: f64 = 5.0;
const TRIES: usize = 3;

async fn check(probe: &Probe) -> Judgement {
    for bound in SHORT {
        repeated(probe, bound).await?;
    }
    let (_, bound) = probe.lasting(probe.pace().await?, LONG).await?;
    repeated(probe, bound).await
}

/// Judges generations of one bound until the figures of one are possible.
async fn repeated(probe: &Probe, bound: i64) -> Judgement {
    let mut too_large = Vec::new();
    for _ in 0..TRIES {
        let generation = probe.predict(probe.request(bound)).await?;
        generation.served()?;
        let Some(last) = generation.responses.iter().rev().find(|r| r.message.end_of_stream) else {
            return Err(NotPassed::Inconclusive("a generation had no last message (STREAM-001)".to_owned()));
        };
        are_numbers(probe, &last.message, bound)?;
        match larger(&generation, &last.message, bound) {
            None => return Ok(()),
            Some(why) => too_large.push(why),
        }
    }
    probe.assert(false, || format!("in each of {TRIES} generations {}", too_large[0]))
}

fn are_numbers(probe: &Probe, last: &GenerationResponse, bound: i64) -> Judgement {
    let timings = last.timings;
    for (name, value) in [("ttft_ms", timings.ttft_ms), ("tokens_per_sec", timings.tokens_per_sec)] {
        probe.assert(value.is_finite() && value >= 0.0, || {
            format!(
                "the last message of a generation with max_new_tokens {bound} carries {name} {value}, which must be finite and \
                 not negative"
            )
        })?;
    }
    Ok(())
}

/// The figure that the client's own clock cannot explain, in words.
fn larger(generation: &Generation, last: &GenerationResponse, bound: i64) -> Option<String> {
    let first = generation.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
    let (ttft_ms, rate) = (f64::from(last.timings.ttft_ms), f64::from(last.timings.tokens_per_sec));
    if ttft_ms > first.as_secs_f64() * 1e3 * LATER + GRAIN_MS {
        return Some(format!(
            "ttft_ms was {ttft_ms:.1}, and the client had the first text after {}",
            time(first)
        ));
    }
    let span = generation.took().saturating_sub(first);
    let most = bound as f64 / span.as_secs_f64().max(1e-6);
    (span >= LEAST && rate > most * FASTER).then(|| {
        format!(
            "tokens_per_sec was {rate:.0}, and {bound} tokens at most came within {}, which is {most:.0} a second",
            time(span)
        )
    })
}

#[derive(Default)]
struct NotANumber;

impl Behaviour for NotANumber {
    fn respond(&self, _request: &ai_inference_proto::GenerationRequest, responses: Responses) -> Responses {
        rewrite(responses, |mut message| {
            if message.end_of_stream {
                message.timings.tokens_per_sec = f32::NAN;
            }
            vec![message]
        })
    }
}
