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
    /// sends a chunk per token, and a count above the bound breaks it too. A larger bound must give more text on one of the
    /// prompts, and each further prompt is tried until one does; a model that ends by itself on all of them leaves the
    /// check blind, and it says so.
    ///
    /// # What a violation looks like
    /// The same long text whatever the bound is; one token too many.
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
/// A model that ends early on the survey's prompts may go on after another.
const MORE_PROMPTS: [&str; 3] = [
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "def fibonacci(n):\n    ",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z. A B C D E F G",
];

async fn check(probe: &Probe) -> Judgement {
    let mut said = Vec::new();
    let known = probe.endpoint().prompts.iter().map(String::as_str);
    for prompt in known.chain(MORE_PROMPTS) {
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
        said.push(format!("{} bytes with {}, {} with {}", one.bytes, one.bound, more.bytes, more.bound));
    }
    Err(NotPassed::Inconclusive(format!(
        "on none of {} prompts did each larger max_new_tokens give more text ({}): the model ends by itself, or the bound is \
         not what ends it",
        said.len(),
        said[0]
    )))
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
