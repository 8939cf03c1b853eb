//! A backend without a model: the next token is a hash of everything in the slot, so that a slot mixed up, a position
//! off by one or a lost token changes the text. For tests of the engine and everything above it.

use std::{thread, time::Duration};

use super::{Backend, BackendError, Capacity, Row};

/// Deterministic, and strict where a real backend would silently compute nonsense.
#[derive(Debug)]
pub struct ScriptedBackend {
    capacity: Capacity,
    pace: Duration,
    slots: Vec<Vec<i64>>,
    logits: Vec<f32>,
}

impl ScriptedBackend {
    /// Empty slots; each step takes no time.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            pace: Duration::ZERO,
            slots: vec![Vec::new(); capacity.slots],
            logits: vec![0.0; capacity.slots * capacity.vocabulary],
        }
    }

    /// Each step takes this long.
    #[must_use]
    pub fn with_pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Writes `tokens` at `past`; what lay behind is no longer valid.
    fn write(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<(), BackendError> {
        let held = &mut self.slots[slot];
        if past > held.len() {
            return Err(BackendError::Failed(format!("slot {slot} holds {} tokens, not {past}", held.len())));
        }
        if past + tokens.len() > self.capacity.context {
            return Err(BackendError::Failed(format!("slot {slot} is full at {past} tokens")));
        }
        held.truncate(past);
        held.extend_from_slice(tokens);
        Ok(())
    }

    /// One clear winner, and a second choice for samplers to find.
    fn score(&mut self, slot: usize, row: usize) {
        let vocabulary = self.capacity.vocabulary;
        let logits = &mut self.logits[row * vocabulary..(row + 1) * vocabulary];
        logits.fill(0.0);
        let hash = self.slots[slot].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, token| {
            (hash ^ token.unsigned_abs()).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
        });
        logits[(hash >> 32) as usize % vocabulary] = 9.0;
        logits[hash as usize % vocabulary] += 8.0;
    }
}

impl Backend for ScriptedBackend {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        thread::sleep(self.pace);
        self.write(slot, past, tokens)?;
        self.score(slot, 0);
        Ok(&mut self.logits[..self.capacity.vocabulary])
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        thread::sleep(self.pace);
        for (slot, row) in rows.iter().enumerate() {
            self.write(slot, row.past, &[row.token])?;
            self.score(slot, slot);
        }
        Ok(&mut self.logits[..rows.len() * self.capacity.vocabulary])
    }
}
