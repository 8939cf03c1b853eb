//! A model's tokenizer: a Hugging Face `tokenizer.json`, with prompts taken as plain text.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use tokenizers::AddedToken;

use super::incremental::Decode;
use crate::package::{self, PackageError};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokenizer: tokenizers::Tokenizer,
    /// The tokens without text: those that the file calls special.
    silent: HashSet<u32>,
}

/// A tokenizer that cannot be used, or a text that it refuses.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// For the terminal and the log: it names the file.
    #[error("failed to understand {}: {why}", .file.display())]
    Unreadable {
        /// Path of the file.
        file: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A text outside what the model can spell.
    #[error("the prompt cannot be written in the model's tokens")]
    Unspeakable,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` file.
    pub fn open(file: &Path) -> Result<Self, TokenizerError> {
        let unreadable = |why: String| TokenizerError::Unreadable { file: file.to_owned(), why };
        let content = package::read(file)?;
        let parsed = guarded(|| tokenizers::Tokenizer::from_bytes(&content)).map_err(&unreadable)?;
        let mut tokenizer = parsed.map_err(|error| unreadable(error.to_string()))?;
        // Special-token text in a prompt is text, and so is that of control tokens which the file does not call special, as
        // many files do with `<think>` or `<tool_call>` (ERROR-007). Runs of spaces are how some models spell text.
        let added = tokenizer.get_added_tokens_decoder();
        let silent = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let names = added.into_values().filter(|token| !token.special && !token.content.trim().is_empty());
        let names = names.map(|token| AddedToken { special: true, ..token });
        tokenizer.add_special_tokens(names).map_err(|error| unreadable(error.to_string()))?;
        tokenizer.set_encode_special_tokens(true);
        // What a file says of lengths is for training batches; a prompt must be neither cut nor filled (ERROR-004).
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| unreadable(error.to_string()))?;
        let opened = Self(Arc::new(Inner { tokenizer, silent }));
        opened.prove().map_err(unreadable)?;
        Ok(opened)
    }

    /// A decoder or a template can be such that the library panics on every text: better known before the first prompt.
    fn prove(&self) -> Result<(), String> {
        let Inner { tokenizer, .. } = &*self.0;
        let spelt = guarded(|| tokenizer.encode_fast(TRIAL, true))?.map_err(|error| error.to_string())?;
        guarded(|| tokenizer.decode(spelt.get_ids(), false))?.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The largest token that it knows.
    pub fn largest_token(&self) -> u32 {
        self.0.tokenizer.get_vocab(true).into_values().max().unwrap_or_default()
    }

    /// A prompt's tokens, with those that the model wants around every text.
    pub fn encode(&self, prompt: &str) -> Result<Vec<i64>, TokenizerError> {
        let encoding = guarded(|| self.0.tokenizer.encode_fast(prompt, true));
        let encoding = encoding.ok().and_then(Result::ok).ok_or(TokenizerError::Unspeakable)?;
        Ok(encoding.get_ids().iter().map(|id| i64::from(*id)).collect())
    }
}

impl Decode for Tokenizer {
    /// Special tokens have no text.
    fn decode(&self, tokens: &[u32]) -> String {
        // Only a decoder's own configuration can fail, and then for every text: nothing to show is what is left.
        let Inner { tokenizer, silent } = &*self.0;
        let spoken: Vec<u32> = tokens.iter().copied().filter(|token| !silent.contains(token)).collect();
        guarded(|| tokenizer.decode(&spoken, false)).ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// What the library panics on is an error too.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
        format!("the tokenizers library panicked: {why}")
    })
}

/// Letters, a space, a character of several bytes.
const TRIAL: &str = "Hello 你";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::text::Incremental;

    const TEXT: &str = "The 河流 of 👩\u{200d}💻 e\u{301} 👋🏽 🇨🇾 ends, 'tis so. ";

    /// A file of these pieces, by id.
    fn file(pieces: &[String], decoder: &Value, added: &Value) -> tempfile::NamedTempFile {
        let vocabulary: Value =
            pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), json!(id))).collect();
        let model = json!({ "type": "BPE", "vocab": vocabulary, "merges": [] });
        let content = json!({ "version": "1.0", "model": model, "decoder": decoder, "added_tokens": added });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content.to_string()).unwrap();
        file
    }

    fn tokenizer(pieces: &[String], decoder: &Value) -> Tokenizer {
        Tokenizer::open(file(pieces, decoder, &json!([])).path()).unwrap()
    }

    /// A decoder with a vocabulary of its own for `text`, and the ids that spell it.
    fn spelt(kind: usize, text: &str) -> (Tokenizer, Vec<u32>) {
        let characters: Vec<String> = text.chars().map(String::from).collect();
        let (pieces, decoder): (Vec<String>, Value) = match kind {
            0 => {
                // As Llama 2, Mistral and Gemma: ASCII in pieces, everything else in bytes.
                let spell = |c: &String| match c.as_str() {
                    " " => vec!["▁".to_owned()],
                    c if c.is_ascii() => vec![c.to_owned()],
                    c => c.bytes().map(|byte| format!("<0x{byte:02X}>")).collect(),
                };
                let decoders = json!([
                    { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
                    { "type": "ByteFallback" },
                    { "type": "Fuse" },
                    { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
                ]);
                let pieces = characters.iter().flat_map(spell).collect();
                (pieces, json!({ "type": "Sequence", "decoders": decoders }))
            }
            1 => {
                let bytes = text.bytes().map(|byte| String::from(byte_letter(byte)));
                let options = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
                (bytes.collect(), options)
            }
            2 => {
                let pieces = characters.iter().map(|c| c.replace(' ', "▁")).collect();
                (
                    pieces,
                    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true }),
                )
            }
            _ => {
                let words = text.split(' ').filter(|word| !word.is_empty());
                let spell = |word: &str| {
                    let mut pieces: Vec<_> = word.chars().map(|c| format!("##{c}")).collect();
                    pieces[0] = pieces[0].trim_start_matches("##").to_owned();
                    pieces
                };
                (
                    words.flat_map(spell).collect(),
                    json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
                )
            }
        };
        let mut known = pieces.clone();
        known.sort();
        known.dedup();
        let ids = pieces.iter().map(|piece| known.binary_search(piece).unwrap() as u32).collect();
        (tokenizer(&known, &decoder), ids)
    }

    /// GPT-2's letter for a byte.
    fn byte_letter(byte: u8) -> char {
        let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        if printable(byte) {
            return char::from(byte);
        }
        let others = (0..byte).filter(|byte| !printable(*byte)).count();
        char::from_u32(256 + others as u32).unwrap()
    }

    proptest! {
        #[test]
        fn every_kind_of_decoder_streams_whole_characters(
            kind in 0..4_usize,
            start in 0..40_usize,
            length in 1..120_usize,
        ) {
            let text: String = TEXT.chars().cycle().skip(start).take(length).collect();
            let (tokenizer, ids) = spelt(kind, &text);
            let whole = tokenizer.decode(&ids);
            let mut incremental = Incremental::new(tokenizer);
            let mut chunks: Vec<_> = ids.iter().map(|id| incremental.push(*id)).collect();
            chunks.push(incremental.finish());
            for chunk in &chunks {
                prop_assert!(!chunk.contains(char::REPLACEMENT_CHARACTER), "{:?} in {:?}", chunk, chunks);
            }
            prop_assert_eq!(chunks.concat(), whole);
        }
    }

    #[test]
    fn the_names_of_all_added_tokens_are_text_in_a_prompt() {
        let mut pieces: Vec<String> = "<think>".chars().map(String::from).collect();
        pieces.sort();
        pieces.dedup();
        for (special, normalized) in [(true, false), (false, false), (false, true)] {
            let added = json!([{
                "id": pieces.len(), "content": "<think>", "special": special,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": normalized,
            }]);
            let opened = Tokenizer::open(file(&pieces, &json!({ "type": "Fuse" }), &added).path()).unwrap();
            let ids = opened.encode("<think>").unwrap();
            assert_eq!(ids.len(), "<think>".len(), "special: {special}: {ids:?}");
            assert_eq!(
                opened.decode(&[pieces.len() as u32]).is_empty(),
                special,
                "what it has as text stays so"
            );
        }
    }
}
