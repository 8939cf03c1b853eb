//! SAMPLING-010.

use ai_inference_proto::GenerationRequest;

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Unset means the documented value: a greedy request without max_new_tokens gives the text of one with 256.
    ///
    /// # Why it matters
    /// The documented client leaves max_new_tokens out. Behind another default its answers end in mid-sentence, or cost
    /// four times as much, and nothing says why.
    ///
    /// # How it is checked
    /// Greedy requests on one prompt with max_new_tokens of 64, 256 and unset. Where 256 gives more text than 64, unset
    /// must give the same text as 256. Where it differs, 256 is asked once more: a model whose greedy text differs from
    /// itself is compared by length, and unset must be nearer to 256 than to 64. If no prompt gives more text at 256
    /// than at 64, the check says that it could not see.
    ///
    /// # What a violation looks like
    /// The text without max_new_tokens is the beginning of the text with 256, and stops after 64 tokens.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-010; Protocol Buffers, "Default values".
    id: "SAMPLING-010",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "unset max_new_tokens means 256",
    check: check,
    mutant: SixtyFour, fault: "unset means 64 tokens", seen_as: "unset means 256",
}

async fn check(probe: &Probe) -> Judgement {
    for prompt in probe.endpoint().prompts.iter().take(PROMPTS) {
        let (fewer, documented, unset) = tokio::try_join!(
            text(probe, prompt, FEWER),
            text(probe, prompt, DOCUMENTED),
            text(probe, prompt, UNSET)
        )?;
        if documented.len() <= fewer.len() {
            continue; // this text ends by itself
        }
        let again =
            if unset == documented { documented.clone() } else { text(probe, prompt, DOCUMENTED).await? };
        let right = if again == documented {
            unset == documented
        } else {
            let middle = usize::midpoint(fewer.len(), documented.len().min(again.len()));
            unset.len() > middle && unset.len() < 2 * documented.len().max(again.len())
        };
        return probe.assert(right, || {
            format!(
                "max_new_tokens unset gave {} bytes of text, {FEWER} gave {} and {DOCUMENTED} gave {}: unset means \
                 {DOCUMENTED}",
                unset.len(),
                fewer.len(),
                documented.len()
            )
        });
    }
    Err(NotPassed::Inconclusive(format!(
        "the model ends its texts before {FEWER} tokens: nothing shows what an unset max_new_tokens means"
    )))
}

/// A greedy text.
async fn text(probe: &Probe, prompt: &str, max_new_tokens: i64) -> Result<String, NotPassed> {
    let request = GenerationRequest { prompt: prompt.to_owned(), ..probe.request(max_new_tokens) };
    Ok(probe.predict(request).await?.served()?.text())
}

const UNSET: i64 = 0;
const FEWER: i64 = 64;
/// Contract, section 5.
const DOCUMENTED: i64 = 256;
const PROMPTS: usize = 3;

#[derive(Default)]
struct SixtyFour;

impl Behaviour for SixtyFour {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let mut script = Conformant.speak(request);
        if request.sampling.is_none_or(|sampling| sampling.max_new_tokens == UNSET) {
            script.tokens.truncate(64);
        }
        script
    }
}
