//! Text to tokens and back, so that what streams out is whole characters.

mod incremental;
mod tokenizer;

pub use incremental::{Decode, Incremental};
pub use tokenizer::{Tokenizer, TokenizerError};
