//! Prompts: seeded, all of exactly the same number of tokens, never the same twice, so that no engine can reuse one.

use anyhow::{Context as _, bail, ensure};
use rand::{RngExt as _, rngs::StdRng};
use reference_sidecar::text::Tokenizer;

use super::engine::Task;

/// `streams` fresh prompts of `length` tokens, each to be continued by `tokens`.
pub(crate) fn draw(
    rng: &mut StdRng,
    tokenizer: &Tokenizer,
    streams: usize,
    length: usize,
    tokens: usize,
) -> anyhow::Result<Task> {
    let drawn: Vec<_> = (0..streams).map(|_| prompt(rng, tokenizer, length)).collect::<Result<_, _>>()?;
    let (texts, prompts) = drawn.into_iter().unzip();
    Ok(Task { texts, prompts, tokens })
}

/// Words, added until the text has so many tokens; one that makes it too long is taken back.
fn prompt(rng: &mut StdRng, tokenizer: &Tokenizer, length: usize) -> anyhow::Result<(String, Vec<i64>)> {
    ensure!(length > 0, "a prompt needs a token");
    let mut text = String::new();
    for _ in 0..length * TRIES_A_TOKEN {
        let before = text.len();
        if before > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
        let ids = tokenizer.encode(&text).context("cannot encode a prompt")?;
        match ids.len() {
            n if n == length => return Ok((text, ids)),
            n if n > length => text.truncate(before),
            _ => {}
        }
    }
    bail!("found no prompt of exactly {length} tokens")
}

/// Common words, most of them one token in any English vocabulary; the short ones fill the last gap in others.
const WORDS: [&str; 48] = [
    "the", "of", "and", "a", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as",
    "with", "his", "they", "I", "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but",
    "not", "what", "all", "were", "we", "when", "your", "can", "said", "there", "use", "an", "each", "which",
    "she", "do", "how",
];

/// Far more than are needed: a prompt's end may take a few.
const TRIES_A_TOKEN: usize = 20;
