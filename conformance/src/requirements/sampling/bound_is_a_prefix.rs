//! SAMPLING-011.

use ai_inference_proto::GenerationRequest;

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::{Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A greedy text under a bound n begins the text under any larger bound.
    ///
    /// # Why it matters
    /// A bound cuts a text; it does not choose it. Where the prompt is cut to make room for the bound, or the bound takes part
    /// in the sampling, a client that asks for a longer answer gets another answer.
    ///
    /// # How it is checked
    /// The same greedy request with bounds of 1, 6, 24 and 96 tokens, one after the other. Each text must begin the next longer
    /// one; a last character that the bound has cut (U+FFFD) is left out. Where one does not, both are asked for again: if they
    /// are the same as before, the bound has changed the text; if not, the text changes by itself (SAMPLING-003) and the check
    /// says that it could not see. It says so too if the model ends by itself within six tokens on three prompts.
    ///
    /// # What a violation looks like
    /// Another text for another bound.
    ///
    /// # References
    /// Contract, SAMPLING-011.
    id: "SAMPLING-011",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "a greedy text begins the text under a larger bound",
    check: check,
    mutant: BoundTakesPart, fault: "another text for another bound", seen_as: "is not the beginning of",
}

const BOUNDS: [i64; 4] = [1, 6, 24, 96];
const PROMPTS: usize = 3;

async fn check(probe: &Probe) -> Judgement {
    for prompt in probe.endpoint().prompts.iter().take(PROMPTS) {
        let mut texts: Vec<(i64, String)> = Vec::new();
        for bound in BOUNDS {
            texts.push((bound, text(probe, prompt, bound).await?));
        }
        for pair in texts.windows(2) {
            begins(probe, prompt, &pair[0], &pair[1]).await?;
        }
        if texts[2].1.len() > texts[1].1.len() {
            return Ok(());
        }
    }
    Err(NotPassed::Inconclusive(format!(
        "the model ends its texts within {} tokens: a larger bound gives no more text",
        BOUNDS[1]
    )))
}

/// One text begins the other, or both are not the same when they are asked for again.
async fn begins(probe: &Probe, prompt: &str, short: &(i64, String), long: &(i64, String)) -> Judgement {
    let whole = short.1.trim_end_matches('\u{fffd}');
    let holds = long.1.starts_with(whole);
    if !holds {
        for (bound, before) in [short, long] {
            if text(probe, prompt, *bound).await? != *before {
                return Err(NotPassed::Inconclusive(format!(
                    "equal greedy requests of {bound} tokens give different texts (SAMPLING-003): no bound is to blame"
                )));
            }
        }
    }
    probe.assert(holds, || {
        format!(
            "the greedy text with max_new_tokens {} is not the beginning of the one with {}: {} and {}",
            short.0,
            long.0,
            quote(&short.1, 60),
            quote(&long.1, 60)
        )
    })
}

async fn text(probe: &Probe, prompt: &str, bound: i64) -> Result<String, NotPassed> {
    let request = GenerationRequest { prompt: prompt.to_owned(), ..probe.request(bound) };
    Ok(probe.predict(request).await?.served()?.text())
}

#[derive(Default)]
struct BoundTakesPart;

impl Behaviour for BoundTakesPart {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let bound = request.sampling.unwrap_or_default().max_new_tokens;
        let prompt = format!("{} {bound}", request.prompt);
        Conformant.speak(&GenerationRequest { prompt, ..request.clone() })
    }
}
