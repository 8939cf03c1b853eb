//! What the exemplar says: a scripted speaker in place of a model.
//!
//! Under greedy parameters the text is a function of the prompt alone; otherwise each request draws its own. One chunk
//! is one token. It speaks in the prompt's script, so that checks about CJK, emoji and combining marks have something
//! to see, and it never ends by itself: only max_new_tokens bounds it.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use ai_inference_proto::{GenerationRequest, Sampling};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

/// One generation's text and pace.
#[derive(Clone, Debug)]
pub struct Script {
    /// Text, a token each.
    pub tokens: Vec<String>,
    /// Time before the first token.
    pub first_after: Duration,
    /// Time before each later token.
    pub gap: Duration,
}

const ENGLISH: [&str; 24] = [
    " the", " river", " bends", " toward", " a", " quiet", " town", " where", " people", " build", " boats",
    ",", " and", " every", " morning", " light", " falls", " on", " old", " stones", ".", " Then", " rain",
    " comes",
];
const CHINESE: [&str; 16] =
    ["春", "天", "的", "河", "水", "流", "过", "小", "镇", "，", "人", "们", "造", "船", "。", "清晨"];
const EMOJI: [&str; 12] =
    ["😀", "👩‍💻", "🏳️‍🌈", "👍🏽", "e\u{301}", "n\u{303}", "🇨🇳", " ok", "👨‍👩‍👧", "🚀", "a\u{308}", "✨"];

/// Words that do not come again under a penalty; fewer than any vocabulary has.
const PENALISED: usize = 8;
/// The default of max_new_tokens, where it is unset.
const DEFAULT_TOKENS: i64 = 256;
/// The exemplar's context in tokens: no generation is longer, and each prompt is shorter.
pub(super) const CONTEXT: i64 = 20_000;
/// Characters of a prompt that are one token.
const TOKEN: usize = 2;
const TEMPERATURE: f64 = 0.7;
const TOP_P: f64 = 0.9;

/// Writes the script for a request.
pub(super) fn speak(request: &GenerationRequest) -> Script {
    let sampling = request.sampling.unwrap_or_default();
    let bound = if sampling.max_new_tokens == 0 { DEFAULT_TOKENS } else { sampling.max_new_tokens };
    let mut rng = if is_greedy(&sampling) {
        let mut hasher = DefaultHasher::new();
        request.prompt.hash(&mut hasher);
        StdRng::seed_from_u64(hasher.finish())
    } else {
        StdRng::seed_from_u64(uuid::Uuid::new_v4().as_u64_pair().0)
    };
    let words = vocabulary(&request.prompt);
    let penalised = sampling.repetition_penalty > 1.0;
    let mut recent = VecDeque::from([rng.next_u64() as usize % words.len()]);
    let tokens = (0..bound.min(CONTEXT))
        .map(|_| {
            let last = recent.back().copied().unwrap_or_default();
            // A penalty keeps a word from coming soon again; without one it sometimes does.
            let mut next = || (last + rng.random_range(0..words.len())) % words.len();
            let mut word = next();
            while penalised && recent.contains(&word) {
                word = next();
            }
            recent.push_back(word);
            if recent.len() > PENALISED {
                recent.pop_front();
            }
            words[word].to_owned()
        })
        .collect();
    Script { tokens, first_after: Duration::from_millis(2), gap: Duration::from_millis(1) }
}

/// Tokens of a prompt.
pub(super) fn tokens(prompt: &str) -> i64 {
    prompt.chars().count().div_ceil(TOKEN) as i64
}

fn is_greedy(sampling: &Sampling) -> bool {
    let temperature = if sampling.temperature == 0.0 { TEMPERATURE } else { sampling.temperature };
    let top_p = if sampling.top_p == 0.0 { TOP_P } else { sampling.top_p };
    temperature <= 0.05 || top_p <= 0.01
}

fn vocabulary(prompt: &str) -> &'static [&'static str] {
    if prompt
        .chars()
        .any(|c| ('\u{1F000}'..='\u{1FAFF}').contains(&c) || ('\u{300}'..='\u{36F}').contains(&c))
    {
        &EMOJI
    } else if prompt.chars().any(|c| ('\u{4E00}'..='\u{9FFF}').contains(&c)) {
        &CHINESE
    } else {
        &ENGLISH
    }
}
