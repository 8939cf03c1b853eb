//! SAMPLING-002.

use ai_inference_proto::{GenerationRequest, Sampling};

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::{Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// max_new_tokens bounds the output: with 1, at most one token's text (≤ 128 bytes); with n, at most n tokens'
    /// text (≤ 128·n bytes, and no more than n text-bearing chunks where the backend sends a chunk per token); a
    /// larger bound gives more text unless the model ends by itself.
    ///
    /// # Why it matters
    /// It is the only brake that a client has: on its bill, on its latency and on a model that repeats itself for
    /// ever.
    ///
    /// # How it is checked
    /// Greedy generations of 1, 8 and 32 tokens on prompts that make the model talk. Text of more than 128 bytes a
    /// token breaks the bound. Where the number of chunks grows by exactly one for each token of the bound (8 to
    /// 32), the backend sends a chunk per token, and a count above the bound breaks it too. The 32-token text must
    /// be longer than the 1-token text; if the model ends by itself before that on every prompt, the check is blind
    /// and says so.
    ///
    /// # What a violation looks like
    /// The same long text whatever the bound is; one token too many; always one token.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-002; the interface contract, `GenerationParameters.max_new_tokens`.
    id: "SAMPLING-002",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "max_new_tokens bounds the output",
    check: check,
    mutant: IgnoresBound, fault: "the bound is ignored", seen_as: "max_new_tokens = 1",
}

/// No token of any tokenizer in use is longer than this many bytes.
const TOKEN_BYTES: usize = 128;

async fn check(probe: &Probe) -> Judgement {
    let mut ended_early = Vec::new();
    for prompt in probe.endpoint().prompts.iter().take(3) {
        let one = bounded(probe, prompt, 1).await?;
        let eight = bounded(probe, prompt, 8).await?;
        let many = bounded(probe, prompt, 32).await?;
        if many.chunks.checked_sub(eight.chunks) == Some(24) {
            // A chunk is a token here: the count itself is bounded.
            for generation in [&one, &eight, &many] {
                probe.assert(generation.chunks <= generation.bound, || {
                    format!(
                        "max_new_tokens = {} gave {} tokens, a chunk each",
                        generation.bound, generation.chunks
                    )
                })?;
            }
        }
        if many.bytes > one.bytes {
            return Ok(());
        }
        ended_early.push(format!("{} bytes with 1 and {} with 32", one.bytes, many.bytes));
    }
    let seen = ended_early.join("; ");
    // Ending by itself after one token on one prompt is a model's right; always the same length is a server's fault.
    probe.assert(ended_early.len() < 3, || {
        format!("max_new_tokens = 32 gives no more text than 1 on any prompt: {seen}")
    })?;
    Err(NotPassed::Inconclusive(format!("the model ended by itself: {seen}")))
}

struct Bounded {
    bound: usize,
    bytes: usize,
    chunks: usize,
}

async fn bounded(probe: &Probe, prompt: &str, bound: usize) -> Result<Bounded, NotPassed> {
    let mut request = probe.request(bound as i64);
    prompt.clone_into(&mut request.prompt);
    let generation = probe.predict(request).await?;
    generation.served()?;
    let text = generation.text();
    probe.assert(text.len() <= bound * TOKEN_BYTES, || {
        format!("max_new_tokens = {bound} gave {} bytes of text: {}", text.len(), quote(&text, 80))
    })?;
    Ok(Bounded { bound, bytes: text.len(), chunks: generation.text_bearing().count() })
}

#[derive(Default)]
struct IgnoresBound;

impl Behaviour for IgnoresBound {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.map(|s| Sampling { max_new_tokens: 0, ..s });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}
