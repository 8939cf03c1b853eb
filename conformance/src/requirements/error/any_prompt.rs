//! ERROR-006.

use std::time::Instant;

use ai_inference_proto::GenerationRequest;
use futures_util::future::join_all;
use proptest::{
    prelude::any,
    prop_oneof,
    strategy::{Strategy, ValueTree},
};
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, SHRINKING, SHRINKING_STEPS, quote, smallest},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Any valid UTF-8 prompt is served or INVALID_ARGUMENT: control characters, NUL, right-to-left, lone combining
    /// marks, special-token text (property test).
    ///
    /// # Why it matters
    /// Prompts are what people paste. A NUL that reaches a C string, or a tokenizer that panics on a lone joiner,
    /// is an outage that one user can cause at will.
    ///
    /// # How it is checked
    /// First an ordinary prompt must be served. Then some twenty prompts are sent: a fixed list of known traps, and
    /// random strings drawn with the run's seed from control characters, every plane of Unicode and special-token
    /// text. Each must be answered with at least one response and OK, or with INVALID_ARGUMENT; afterwards the server must
    /// still serve. A prompt that fails is made smaller for some seconds, and the smallest that still fails is shown.
    ///
    /// # What a violation looks like
    /// INTERNAL or UNKNOWN, a reset, a lost connection, or a hang, on one of them.
    ///
    /// # References
    /// Contract, ERROR-006; Unicode, sections 2.11 (combining marks) and 23.1 (control codes).
    id: "ERROR-006",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "any valid UTF-8 prompt is served or INVALID_ARGUMENT",
    check: check,
    mutant: NulIsInternal, fault: "NUL in a prompt is INTERNAL", seen_as: "\\0",
}

const TRAPS: [&str; 15] = [
    " ",
    "\n",
    "a\0b",
    "\u{1}\u{2}\u{7f}\u{9b}",
    "\u{301}\u{308}",
    "\u{200d}",
    "\u{202e}שלום עולם\u{202c}",
    "\u{feff}BOM",
    "<|im_end|>",
    "</s><s><|endoftext|>",
    "\u{fffd}\u{ffff}",
    "\u{10ffff}\u{e000}",
    "\r\n\t \u{2028}\u{2029}",
    "%s%n{}$(id)'; --",
    "🏳️‍🌈🏳️‍🌈👩‍👩‍👧‍👦",
];
const RANDOM: usize = 8;
const AT_ONCE: usize = 4;
/// Pieces of a random prompt.
const PIECES: usize = 40;

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let mut random = probe.drawn(&texts(), RANDOM)?;
    let long = "e".to_owned() + &"\u{301}".repeat(500);
    let fixed: Vec<String> = TRAPS.into_iter().map(str::to_owned).chain([long]).collect();
    let drawn: Vec<String> = random.iter().map(ValueTree::current).collect();
    for (at, few) in fixed.chunks(AT_ONCE).chain(drawn.chunks(AT_ONCE)).enumerate() {
        let judged = join_all(few.iter().map(|prompt| Box::pin(judge(probe, prompt.clone())))).await;
        let Some(place) = judged.iter().position(Result::is_err) else { continue };
        let why = judged.into_iter().nth(place).unwrap_or(Ok(()));
        let number = at.checked_sub(fixed.len().div_ceil(AT_ONCE)).map(|at| at * AT_ONCE + place);
        return match number.and_then(|number| random.get_mut(number)) {
            Some(tree) => smallest(tree, why, |prompt| judge(probe, prompt)).await,
            None => smallest_fixed(probe, &few[place], why).await,
        };
    }
    probe.still_serves("strange prompts").await
}

/// Leaves pieces out of a fixed prompt, large ones first, while it still fails; the last failure.
async fn smallest_fixed(probe: &Probe, prompt: &str, mut why: Judgement) -> Judgement {
    let began = Instant::now();
    let mut letters: Vec<char> = prompt.chars().collect();
    let mut size = letters.len() / 2;
    let mut steps = 0;
    while size > 0 {
        let mut at = 0;
        while at < letters.len() && letters.len() > size {
            steps += 1;
            if steps > SHRINKING_STEPS || began.elapsed() > SHRINKING {
                return why;
            }
            let mut fewer = letters.clone();
            fewer.drain(at..(at + size).min(letters.len()));
            match judge(probe, fewer.iter().collect()).await {
                Ok(()) => at += size,
                smaller => (letters, why) = (fewer, smaller),
            }
        }
        size /= 2;
    }
    why
}

async fn judge(probe: &Probe, prompt: String) -> Judgement {
    let generation = probe.predict(GenerationRequest { prompt, ..probe.request(2) }).await?;
    let served = generation.end.is_ok() && !generation.responses.is_empty();
    probe.assert(served || generation.end.code() == Some(Code::InvalidArgument), || {
        let (prompt, count) = (quote(&generation.request.prompt, 60), generation.responses.len());
        let told = generation.end.told();
        format!(
            "the prompt {prompt} {told} with {count} responses, not OK with a response, or INVALID_ARGUMENT"
        )
    })
}

/// Texts from every corner of Unicode, with control characters and special-token text mixed in.
fn texts() -> impl Strategy<Value = String, Tree: Send> {
    let special = ["<s>", "</s>", "<|im_start|>", "[INST]", "<0x00>"];
    let piece = prop_oneof![
        1 => proptest::char::range('\0', '\u{7f}').prop_map(String::from),
        1 => proptest::sample::select(special.to_vec()).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 1..=PIECES).prop_map(|pieces| pieces.concat())
}

#[derive(Default)]
struct NulIsInternal;

impl Behaviour for NulIsInternal {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.prompt.contains('\0') {
            return Err(Status::internal("nul byte found in provided data"));
        }
        state.admit(request)
    }
}
