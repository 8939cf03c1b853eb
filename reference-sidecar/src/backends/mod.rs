//! What executes a step: reads a prompt's chunk into a slot, or continues a run of slots by one token each.
//!
//! A backend owns the weights and the KV cache, keeps no list of sequences and takes no decision: whoever calls it
//! says how much of each slot is valid. Talks to the engine only.

pub mod onnx;
pub mod scripted;

use thiserror::Error;

/// What a backend offers; constant while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sequences in the KV cache.
    pub slots: usize,
    /// Tokens of one sequence, prompt and generated together.
    pub context: usize,
    /// Logits of one row.
    pub vocabulary: usize,
}

/// One slot's part in a decode step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The token to feed; any for a row that is idle.
    pub token: i64,
    /// How many of the slot's tokens are valid, which is the position that this step writes. A row that does not
    /// take part is computed and writes too, so it must say its true length: 0 for an empty slot.
    pub past: usize,
}

/// A step failed; the sequences in it are lost, the backend lives on.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// Executes steps. Lives on one thread.
pub trait Backend: Send {
    /// What it offers.
    fn capacity(&self) -> Capacity;

    /// Appends `tokens` to the first `past` tokens of `slot` and returns the logits after the last of them.
    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError>;

    /// Appends one token to each of the slots `0..rows.len()` and returns their logits, row after row.
    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError>;
}

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn capacity(&self) -> Capacity {
        (**self).capacity()
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        (**self).prefill(slot, past, tokens)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        (**self).decode(rows)
    }
}
