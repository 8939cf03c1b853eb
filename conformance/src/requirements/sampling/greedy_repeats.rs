//! SAMPLING-003.

use ai_inference_proto::{GenerationRequest, Sampling};

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::{Probe, quote},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Greedy requests (temperature 0.01, top_p 0.001) with equal prompts give equal text.
    ///
    /// # Why it matters
    /// Caches, tests and comparisons between backends need one answer to one question. Greedy is asked for with a
    /// tiny top_p, since zero is unset in proto3; a server that does not read it samples at 0.9 without a word.
    ///
    /// # How it is checked
    /// Two prompts, three generations of 24 tokens each, one after the other, with equal parameters. The three
    /// texts must be equal.
    ///
    /// # What a violation looks like
    /// Another text each time.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-003.
    id: "SAMPLING-003",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "greedy requests with equal prompts give equal text",
    check: check,
    mutant: AlwaysSamples, fault: "the text is random", seen_as: "differ",
}

async fn check(probe: &Probe) -> Judgement {
    for prompt in probe.endpoint().prompts.iter().take(2) {
        let mut texts = Vec::new();
        for _ in 0..3 {
            let mut request = probe.request(24);
            prompt.clone_into(&mut request.prompt);
            let generation = probe.predict(request).await?;
            generation.served()?;
            texts.push(generation.text());
        }
        let other = texts.iter().find(|text| **text != texts[0]);
        probe.assert(other.is_none(), || {
            let other = other.map_or("", String::as_str);
            format!("equal greedy requests differ: {} and {}", quote(&texts[0], 60), quote(other, 60))
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct AlwaysSamples;

impl Behaviour for AlwaysSamples {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.map(|s| Sampling { temperature: 1.0, top_p: 0.9, ..s });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}
