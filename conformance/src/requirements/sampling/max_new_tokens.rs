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
    /// Greedy generations of 1, 8, 32 and 130 tokens on prompts that make the model talk. Text of more than 128 bytes a
    /// token breaks the bound. Where the number of chunks grows by exactly one for each token of the bound, the backend
    /// sends a chunk per token, and a count above the bound breaks it too. A larger bound must give more text on one of
    /// three prompts; a model may end by itself, but not after the same number of chunks on every prompt.
    ///
    /// # What a violation looks like
    /// The same long text whatever the bound is; one token too many; always one token.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-002; the interface contract, `GenerationParameters.max_new_tokens`.
    id: "SAMPLING-002",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "max_new_tokens bounds the output",
    check: check,
    mutant: IgnoresBound, fault: "the bound is ignored", seen_as: "max_new_tokens = 1",
}

/// No token of any tokenizer in use is longer than this many bytes.
const TOKEN_BYTES: usize = 128;
/// A model that ends early on one prompt may go on after another.
const PROMPTS: usize = 3;

async fn check(probe: &Probe) -> Judgement {
    let mut equal = Vec::new();
    for prompt in probe.endpoint().prompts.iter().take(PROMPTS) {
        let one = bounded(probe, prompt, 1).await?;
        let eight = bounded(probe, prompt, 8).await?;
        let many = bounded(probe, prompt, 32).await?;
        let more = bounded(probe, prompt, 130).await?;
        let grew =
            |from: &Bounded, to: &Bounded| to.chunks.checked_sub(from.chunks) == Some(to.bound - from.bound);
        if grew(&one, &eight) || grew(&eight, &many) {
            // A chunk is a token here: the count itself is bounded.
            for generation in [&one, &eight, &many, &more] {
                probe.assert(generation.chunks <= generation.bound, || {
                    format!(
                        "max_new_tokens = {} gave {} tokens, a chunk each",
                        generation.bound, generation.chunks
                    )
                })?;
            }
        }
        if more.bytes > many.bytes && many.bytes > one.bytes {
            return Ok(());
        }
        equal.push([one, many, more]);
    }
    // A model may end by itself, but not with the same number of chunks on every prompt, whatever the bound.
    let always = |bounds: [usize; 2]| {
        let counts: Vec<_> = equal.iter().flat_map(|g| bounds.map(|at| g[at].chunks)).collect();
        equal.len() == PROMPTS && counts.windows(2).all(|pair| pair[0] == pair[1])
    };
    for pair in [[0, 1], [1, 2]] {
        probe.assert(!always(pair), || {
            let [small, large] = pair.map(|at| &equal[0][at]);
            let (from, to, chunks) = (small.bound, large.bound, large.chunks);
            format!(
                "max_new_tokens of {from} and of {to} both give {chunks} chunks, on each of {PROMPTS} prompts"
            )
        })?;
    }
    if equal.iter().any(|[one, many, _]| many.bytes > one.bytes) {
        return Ok(());
    }
    Err(NotPassed::Inconclusive("the model ended by itself after one token on every prompt".into()))
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
