//! SAMPLING-007.

use std::collections::BTreeSet;

use ai_inference_proto::{GenerationRequest, Sampling};
use futures_util::future::join_all;

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::{Generation, Probe},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// temperature matters: at 0.01 and at 1.5 the same prompt gives, over some tries, different spreads of text.
    ///
    /// # Why it matters
    /// It is the parameter that clients set first. A server that does not read it answers as before, and only numbers over many
    /// answers show it.
    ///
    /// # How it is checked
    /// Six short texts at a temperature of 0.01 and six at 1.5, with top_p 1, on up to three prompts. Where most texts
    /// at 1.5 are different and hardly one at 0.01 is, the temperature matters; for a model that is sure of itself six at 50 stand
    /// in for those at 1.5. It is ignored where the texts
    /// at 0.01 are as different from each other as those at 1.5, though a tiny top_p gives one and the same text; and where
    /// every text on every prompt is one and the same, even at a temperature of 50, at which any model wavers. Everything
    /// between is said to be unclear.
    ///
    /// # What a violation looks like
    /// Six different texts at 0.01; or one text, whatever the temperature.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-007; the interface contract, `GenerationParameters.temperature`.
    id: "SAMPLING-007",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "temperature matters",
    check: check,
    mutant: IgnoresTemperature, fault: "the temperature is ignored", seen_as: "temperature is ignored",
}

const LOW: f64 = 0.01;
const HIGH: f64 = 1.5;
/// Divides every distance between tokens by so much that no model prefers one of them.
const HOT: f64 = 50.0;
const TRIES: usize = 6;
const TOKENS: i64 = 16;
const PROMPTS: usize = 3;
/// Texts beyond the first of each prompt. Texts of one spread look like this by chance in one run of a hundred.
const MANY: usize = 4;
const FEW: usize = 1;

async fn check(probe: &Probe) -> Judgement {
    let (mut low, mut high, mut asked) = (0, 0, 0);
    for prompt in probe.endpoint().prompts.iter().take(PROMPTS) {
        low += others(probe, prompt, Sampling { temperature: LOW, ..WHOLE }).await?;
        high += others(probe, prompt, Sampling { temperature: HIGH, ..WHOLE }).await?;
        asked += TRIES - 1;
        if high >= MANY && low <= FEW.max(high / (MANY * 2)) {
            return probe.assert(true, String::new);
        }
        let greedy = Sampling { temperature: LOW, top_p: 0.001, ..WHOLE };
        if low >= asked && high >= asked && others(probe, prompt, greedy).await? == 0 {
            return probe.assert(false, || {
                format!(
                    "{TRIES} texts at temperature {LOW} are as different from each other as {TRIES} at {HIGH}, and a tiny top_p \
                     gives one text: the temperature is ignored"
                )
            });
        }
    }
    let hot = if low <= FEW { hot(probe).await? } else { 0 };
    if (low, high) == (0, 0) {
        return probe.assert(hot > 0, || {
            format!(
                "{TRIES} texts on each of {PROMPTS} prompts are one and the same at temperature {LOW}, at {HIGH} and at {HOT}: \
                 the temperature is ignored"
            )
        });
    }
    if hot >= MANY {
        return probe.assert(true, String::new);
    }
    Err(NotPassed::Inconclusive(format!(
        "of {asked} further texts {low} were different at temperature {LOW} and {high} at {HIGH}: too little to tell whether the \
         temperature is ignored"
    )))
}

/// Hardly anything varies at 1.5: the model is sure of itself, or the temperature is ignored. How many texts are others at a
/// temperature at which no model is sure.
async fn hot(probe: &Probe) -> Result<usize, NotPassed> {
    let mut hot = 0;
    for prompt in probe.endpoint().prompts.iter().take(PROMPTS) {
        let generations = draws(probe, prompt, Sampling { temperature: HOT, ..WHOLE }).await?;
        if let Some(refused) = generations.iter().find(|generation| !generation.end.is_ok()) {
            return Err(NotPassed::Inconclusive(format!(
                "the model says much the same each time, also at temperature {HIGH}, and a request at {HOT} {}: nothing shows \
                 whether the temperature is ignored",
                refused.end.told()
            )));
        }
        let texts: BTreeSet<_> = generations.iter().map(Generation::text).collect();
        hot += texts.len().saturating_sub(1);
        if hot >= MANY {
            break;
        }
    }
    Ok(hot)
}

/// Different texts beyond the first.
async fn others(probe: &Probe, prompt: &str, sampling: Sampling) -> Result<usize, NotPassed> {
    let mut texts = BTreeSet::new();
    for generation in draws(probe, prompt, sampling).await? {
        texts.insert(generation.served()?.text());
    }
    Ok(texts.len().saturating_sub(1))
}

async fn draws(probe: &Probe, prompt: &str, sampling: Sampling) -> Result<Vec<Generation>, NotPassed> {
    let draws = (0..TRIES).map(|_| {
        let prompt = prompt.to_owned();
        Box::pin(probe.predict(GenerationRequest { sampling: Some(sampling), prompt, ..probe.request(1) }))
    });
    join_all(draws).await.into_iter().collect()
}

/// Draws from the whole distribution.
const WHOLE: Sampling =
    Sampling { max_new_tokens: TOKENS, temperature: 1.0, top_p: 1.0, repetition_penalty: 1.0 };

#[derive(Default)]
struct IgnoresTemperature;

impl Behaviour for IgnoresTemperature {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.map(|s| Sampling { temperature: 0.7, ..s });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}
