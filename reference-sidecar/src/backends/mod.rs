//! What executes a step: reads a prompt's chunk into a slot, or continues a run of slots by one token each.
//!
//! A backend owns the weights and the KV cache, keeps no list of sequences and takes no decision: its caller
//! says how much of each slot is valid. Talks to the engine only.

pub mod onnx;
pub mod scripted;

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::package::Adapter;

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
pub enum BackendError {
    /// Its [`Interrupter`] ended it. What the slots held before the step is still valid.
    #[error("the step was interrupted")]
    Interrupted,
    /// For the log: it may name files.
    #[error("{0}")]
    Failed(String),
}

/// Ends the step that runs, from another thread.
#[derive(Clone)]
pub struct Interrupter(Arc<dyn Fn(bool) + Send + Sync>);

impl Interrupter {
    /// `set(true)` ends the running step and all that follow, `set(false)` lets steps run again.
    pub fn new(set: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self(Arc::new(set))
    }

    /// Ends the running step, and every one until [`Interrupter::clear`].
    pub fn interrupt(&self) {
        (self.0)(true);
    }

    /// Steps may run again.
    pub fn clear(&self) {
        (self.0)(false);
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}

/// Executes steps. Lives on one thread.
pub trait Backend: Send {
    /// The capacity of the backend.
    fn capacity(&self) -> Capacity;

    /// Gets ready on the thread that will make all steps, while no slot holds anything.
    fn warm_up(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Appends `tokens` to the first `past` tokens of `slot` and returns the logits after the last of them.
    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError>;

    /// Appends one token to each of the slots `0..rows.len()` and returns their logits, row after row.
    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError>;

    /// From now on `slot` computes with this adapter, or with none.
    fn adapt(&mut self, slot: usize, adapter: Option<&Arc<Adapter>>) -> Result<(), BackendError> {
        let _ = slot;
        match adapter {
            None => Ok(()),
            Some(_) => Err(BackendError::Failed("this model takes no adapters".to_owned())),
        }
    }

    /// Makes the first `tokens` tokens of slot `to` those of slot `from`. False where that cannot be done, and then
    /// `to` holds nothing.
    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        let _ = (from, to, tokens);
        false
    }

    /// The way to end a running prefill; `None` where there is none.
    fn interrupter(&self) -> Option<Interrupter> {
        None
    }
}

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn capacity(&self) -> Capacity {
        (**self).capacity()
    }

    fn warm_up(&mut self) -> Result<(), BackendError> {
        (**self).warm_up()
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        (**self).prefill(slot, past, tokens)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        (**self).decode(rows)
    }

    fn adapt(&mut self, slot: usize, adapter: Option<&Arc<Adapter>>) -> Result<(), BackendError> {
        (**self).adapt(slot, adapter)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        (**self).copy_prefix(from, to, tokens)
    }

    fn interrupter(&self) -> Option<Interrupter> {
        (**self).interrupter()
    }
}
