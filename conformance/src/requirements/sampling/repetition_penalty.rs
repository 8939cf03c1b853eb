//! SAMPLING-008.

use std::collections::BTreeSet;

use ai_inference_proto::{GenerationRequest, Sampling};
use futures_util::future::join_all;

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::{Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// repetition_penalty matters: a large one lowers the share of repeated tokens on a repetitive prompt.
    ///
    /// # Why it matters
    /// It is what clients have against a model that goes round in circles. Where it is not read, a looping answer is cut only by
    /// its bound, and is paid for in full.
    ///
    /// # How it is checked
    /// Greedy texts of 48 tokens on repetitive prompts: two without a penalty and one with a penalty of 2. Where the two differ,
    /// the text wavers and nothing can be seen. Where the share of repeated words falls by half, in the whole text or within a few
    /// words, the penalty matters; over three prompts a fall of a fifth is enough. A share that rises by as much is a failure. A
    /// text that repeats itself and stays the same under penalties of 2, 10 and 1000 on every prompt is one too, if the model
    /// wavers at a temperature of 1.5: then no token is so sure that a penalty cannot move it.
    ///
    /// # What a violation looks like
    /// The same looping text, whatever the penalty.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-008; Keskar et al., "CTRL", section 4.1.
    id: "SAMPLING-008",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "repetition_penalty matters",
    check: check,
    mutant: IgnoresPenalty, fault: "the penalty is ignored", seen_as: "repetition_penalty is ignored",
}

const PROMPTS: [&str; 3] = [
    "the river and the town and the river and the town and the river and the town and",
    "User: Say the word yes again and again.\nAssistant: yes yes yes yes yes yes yes yes",
    "one two three one two three one two three one two three one two",
];
const TOKENS: i64 = 48;
const LARGE: f64 = 2.0;
/// Asked for where 2 changes nothing: an implementation on logarithms of probabilities needs more.
const LARGER: [f64; 2] = [10.0, 1000.0];
/// Words that count as near.
const NEAR: usize = 4;
/// A text of fewer words is looked at by its characters: not every script has spaces.
const WORDS: usize = 8;
/// Repeated words without which a text says nothing, and by which a fall must be seen at least.
const LEAST: usize = 4;
/// Texts at a temperature of 1.5.
const TRIES: usize = 4;

async fn check(probe: &Probe) -> Judgement {
    let (mut without, mut with, mut same) = (Repeats::default(), Repeats::default(), Vec::new());
    for prompt in PROMPTS {
        let asked = [1.0, 1.0, LARGE].map(|penalty| Box::pin(text(probe, prompt, penalty)));
        let mut texts = Vec::new();
        for text in join_all(asked).await {
            texts.push(text?.ok_or_else(|| unseen("a penalty of 2 is refused"))?);
        }
        if texts[0] != texts[1] {
            return Err(unseen("equal greedy requests give different texts (SAMPLING-003)"));
        }
        let [before, after] = Repeats::of(&texts[0], &texts[2]);
        if before.whole < LEAST {
            continue; // nothing that a penalty could lower
        }
        if after.fell(&before, 2, 1) {
            return probe.assert(true, String::new);
        }
        if texts[0] == texts[2] {
            same.push((prompt, texts.swap_remove(0)));
        }
        (without, with) = (without + before, with + after);
    }
    if without.whole == 0 {
        return Err(unseen("the model's texts on repetitive prompts repeat nothing"));
    }
    if with.fell(&without, 5, 4) {
        return probe.assert(true, String::new);
    }
    probe.assert(!without.fell(&with, 5, 4), || {
        format!(
            "repetition_penalty {LARGE} makes more repetitions, not fewer: {} of {} words instead of {}",
            with.whole, with.words, without.whole
        )
    })?;
    if let [(_, shown), ..] = same.as_slice()
        && same.len() > 1
        && unmoved(probe, &same).await?
    {
        let shown = quote(shown, 60);
        return probe.assert(false, || {
            format!(
                "greedy texts that repeat themselves are the same under penalties of 1, {LARGE}, {} and {}, such as {shown}: \
                 repetition_penalty is ignored",
                LARGER[0], LARGER[1]
            )
        });
    }
    Err(unseen(&format!(
        "the texts repeat {} of {} words, and {} of {} under a penalty of {LARGE}",
        without.whole, without.words, with.whole, with.words
    )))
}

fn unseen(why: &str) -> NotPassed {
    NotPassed::Inconclusive(format!("{why}: nothing shows whether repetition_penalty is read"))
}

/// Whether no penalty moves these texts, though the model is not so sure of them.
async fn unmoved(probe: &Probe, same: &[(&str, String)]) -> Result<bool, NotPassed> {
    for (prompt, without) in same {
        for penalty in LARGER {
            if text(probe, prompt, penalty).await?.is_none_or(|text| text != *without) {
                return Ok(false);
            }
        }
        let warm = Sampling { temperature: 1.5, top_p: 1.0, ..greedy(1.0) };
        let mut texts = BTreeSet::new();
        for _ in 0..TRIES {
            texts.extend(asked(probe, prompt, warm).await?);
        }
        if texts.len() < 2 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn greedy(repetition_penalty: f64) -> Sampling {
    Sampling { max_new_tokens: TOKENS, temperature: 0.01, top_p: 0.001, repetition_penalty }
}

async fn text(probe: &Probe, prompt: &str, penalty: f64) -> Result<Option<String>, NotPassed> {
    asked(probe, prompt, greedy(penalty)).await
}

/// The text; `None` where the server does not take the parameters.
async fn asked(probe: &Probe, prompt: &str, sampling: Sampling) -> Result<Option<String>, NotPassed> {
    let (sampling, prompt) = (Some(sampling), prompt.to_owned());
    let generation = probe.predict(GenerationRequest { sampling, prompt, ..probe.request(1) }).await?;
    if generation.end.code() == Some(tonic::Code::InvalidArgument) {
        return Ok(None);
    }
    Ok(Some(generation.served()?.text()))
}

/// How many words of a text stand in it before.
#[derive(Clone, Copy, Debug, Default)]
struct Repeats {
    words: usize,
    whole: usize,
    near: usize,
}

impl Repeats {
    /// Of two texts, in the same units.
    fn of(one: &str, other: &str) -> [Self; 2] {
        let spaced = [one, other].iter().all(|text| text.split_whitespace().nth(WORDS - 1).is_some());
        [one, other].map(|text| {
            if spaced {
                Self::among(&text.split_whitespace().collect::<Vec<_>>())
            } else {
                Self::among(&text.chars().collect::<Vec<_>>())
            }
        })
    }

    fn among<W: PartialEq>(words: &[W]) -> Self {
        let repeated = |at: usize, within: usize| words[at.saturating_sub(within)..at].contains(&words[at]);
        let count = |within: usize| (0..words.len()).filter(|at| repeated(*at, within)).count();
        Self { words: words.len(), whole: count(words.len()), near: count(NEAR) }
    }

    /// Whether the share of repeated words is clearly lower than `before`: `by` times it is at most `of` times that.
    fn fell(&self, before: &Self, by: usize, of: usize) -> bool {
        let lower = |now: usize, then: usize| {
            // In words of the text before: the two need not be of one length.
            let now = now * before.words.max(1) / self.words.max(1);
            then >= now + LEAST && now * by <= then * of
        };
        self.words > 0 && (lower(self.whole, before.whole) || lower(self.near, before.near))
    }
}

impl std::ops::Add for Repeats {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { words: self.words + more.words, whole: self.whole + more.whole, near: self.near + more.near }
    }
}

#[derive(Default)]
struct IgnoresPenalty;

impl Behaviour for IgnoresPenalty {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.map(|s| Sampling { repetition_penalty: 1.0, ..s });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}
