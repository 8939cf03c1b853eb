//! ERROR-003.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A prompt of more than 50,000 characters is INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// Clients rely on this limit: they cut or refuse a text before they send it. A server that takes longer ones works on
    /// them for minutes, or runs out of memory, while its other users wait.
    ///
    /// # How it is checked
    /// An ordinary prompt must be served. Then prompts are sent of 50,001, 65,637, 131,173 and 190,000 Latin letters and of
    /// 50,001 Chinese ones; the second and third number are small ones to a server that counts in 16 bits. Each must be
    /// refused with INVALID_ARGUMENT before any response. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// OK with text; or RESOURCE_EXHAUSTED, as if the server were full.
    ///
    /// # References
    /// Contract, ERROR-003 and WIRE-013 (50,000 characters of any script are accepted by the transport).
    id: "ERROR-003",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    since: "0.1.0",
    title: "a prompt of more than 50,000 characters is INVALID_ARGUMENT",
    check: check,
    mutant: TakesAny, fault: "a prompt of any length is served", seen_as: "a prompt of 50001 characters",
}

/// Characters, and what they are. In UTF-8 all of these are less than the 200 kB that the transport must take.
const PROMPTS: [(usize, &str); 5] =
    [(50_001, "abc "), (50_001, "春天的河"), (65_637, "abc "), (131_173, "abc "), (190_000, "abc ")];

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    for (count, letters) in PROMPTS {
        let prompt: String = letters.chars().cycle().take(count).collect();
        let generation = probe.predict(GenerationRequest { prompt, ..probe.request(2) }).await?;
        let what = format!("a prompt of {count} characters ({letters:?} again and again)");
        generation.refused(&[Code::InvalidArgument], &what)?;
        probe.assert(true, String::new)?;
    }
    probe.still_serves("prompts of more than 50,000 characters").await
}

/// Looks at the beginning of a prompt only.
#[derive(Default)]
struct TakesAny;

impl Behaviour for TakesAny {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let prompt = request.prompt.chars().take(100).collect();
        state.admit(&GenerationRequest { prompt, ..request.clone() })
    }
}
