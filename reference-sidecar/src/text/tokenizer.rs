//! A model's tokenizer: a Hugging Face `tokenizer.json`, with prompts taken as plain text.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::incremental::Decode;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer(Arc<tokenizers::Tokenizer>);

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
    /// A text outside what the model can spell.
    #[error("the prompt cannot be written in the model's tokens")]
    Unspeakable,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` file.
    pub fn open(file: &Path) -> Result<Self, TokenizerError> {
        let mut tokenizer = tokenizers::Tokenizer::from_file(file)
            .map_err(|error| TokenizerError::Unreadable { file: file.to_owned(), why: error.to_string() })?;
        // Special-token text in a prompt is text (ERROR-007).
        tokenizer.set_encode_special_tokens(true);
        // What a file says of lengths is for training batches; a prompt must be neither cut nor filled (ERROR-004).
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| TokenizerError::Unreadable { file: file.to_owned(), why: error.to_string() })?;
        Ok(Self(Arc::new(tokenizer)))
    }

    /// A prompt's tokens, with those that the model wants around every text.
    pub fn encode(&self, prompt: &str) -> Result<Vec<i64>, TokenizerError> {
        let encoding = self.0.encode_fast(prompt, true).map_err(|_| TokenizerError::Unspeakable)?;
        Ok(encoding.get_ids().iter().map(|id| i64::from(*id)).collect())
    }
}

impl Decode for Tokenizer {
    /// Special tokens have no text.
    fn decode(&self, tokens: &[u32]) -> String {
        // Only a decoder's own configuration can fail, and then for every text: nothing to show is what is left.
        self.0.decode(tokens, true).unwrap_or_default()
    }
}
