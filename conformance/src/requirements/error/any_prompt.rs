//! ERROR-006.

use ai_inference_proto::GenerationRequest;
use futures_util::future::join_all;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, quote},
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
    /// text. Each must be answered with at least one response and OK, or with INVALID_ARGUMENT; afterwards the server must still serve.
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

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let random: Vec<String> = (0..RANDOM).map(|_| random_text(probe)).collect();
    let long = "e".to_owned() + &"\u{301}".repeat(500);
    let prompts: Vec<&str> =
        TRAPS.into_iter().chain(random.iter().map(String::as_str)).chain([long.as_str()]).collect();
    for few in prompts.chunks(AT_ONCE) {
        let judged = join_all(few.iter().map(|prompt| Box::pin(judge(probe, prompt)))).await;
        judged.into_iter().collect::<Judgement>()?;
    }
    probe.still_serves("strange prompts").await
}

async fn judge(probe: &Probe, prompt: &str) -> Judgement {
    let generation =
        probe.predict(GenerationRequest { prompt: prompt.to_owned(), ..probe.request(2) }).await?;
    let served = generation.end.is_ok() && !generation.responses.is_empty();
    probe.assert(served || generation.end.code() == Some(Code::InvalidArgument), || {
        let (prompt, count) = (quote(prompt, 60), generation.responses.len());
        let told = generation.end.told();
        format!(
            "the prompt {prompt} {told} with {count} responses, not OK with a response, or INVALID_ARGUMENT"
        )
    })
}

/// Text from every corner of Unicode, with control characters and special-token text mixed in.
fn random_text(probe: &Probe) -> String {
    let mut text = String::new();
    for _ in 0..=probe.random(40) {
        match probe.random(4) {
            0 => text.push(char::from(probe.random(128) as u8)),
            1 => text.push_str(["<s>", "</s>", "<|im_start|>", "[INST]", "<0x00>"][probe.random(5)]),
            // The one gap in Unicode's range, the surrogates, cannot stand in UTF-8 at all.
            _ => text.extend(char::from_u32(probe.random(0x11_0000) as u32)),
        }
    }
    text
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
