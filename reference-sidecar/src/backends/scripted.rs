//! A backend without a model: the next token is a hash of everything in the slot, so that a slot mixed up, a position
//! off by one, a lost token or another's adapter changes the text. For tests of the engine and everything above it.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::{Backend, BackendError, Capacity, Interrupter, Row};
use crate::package::Adapter;

/// Deterministic, and strict where a real backend would silently compute nonsense.
#[derive(Debug)]
pub struct ScriptedBackend {
    capacity: Capacity,
    pace: Duration,
    slots: Vec<Vec<Position>>,
    /// By slot, the adapter that it computes with.
    adapters: Vec<u64>,
    interrupted: Arc<Flag>,
    logits: Vec<f32>,
}

/// A token in the cache, and the adapter that it was computed with.
#[derive(Clone, Copy, Debug)]
struct Position {
    token: i64,
    adapter: u64,
}

impl ScriptedBackend {
    /// Empty slots; each step takes no time.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            pace: Duration::ZERO,
            slots: vec![Vec::new(); capacity.slots],
            adapters: vec![NO_ADAPTER; capacity.slots],
            interrupted: Arc::default(),
            logits: vec![0.0; capacity.slots * capacity.vocabulary],
        }
    }

    /// Each step takes this long.
    #[must_use]
    pub fn with_pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Takes the step's time.
    fn step(&self) -> Result<(), BackendError> {
        if self.interrupted.wait(self.pace) { Err(BackendError::Interrupted) } else { Ok(()) }
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
        let adapter = self.adapters[slot];
        held.extend(tokens.iter().map(|token| Position { token: *token, adapter }));
        Ok(())
    }

    /// One clear winner, and a second choice for samplers to find.
    fn score(&mut self, slot: usize, row: usize) {
        let vocabulary = self.capacity.vocabulary;
        let logits = &mut self.logits[row * vocabulary..(row + 1) * vocabulary];
        logits.fill(0.0);
        let hash =
            self.slots[slot].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, Position { token, adapter }| {
                (hash ^ token.unsigned_abs() ^ adapter).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
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
        let step = self.step();
        // An interrupted step has written too; only what was there before it can be relied on.
        self.write(slot, past, if step.is_ok() { tokens } else { &[] })?;
        step?;
        self.score(slot, 0);
        Ok(&mut self.logits[..self.capacity.vocabulary])
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        self.step()?;
        for (slot, row) in rows.iter().enumerate() {
            self.write(slot, row.past, &[row.token])?;
            self.score(slot, slot);
        }
        Ok(&mut self.logits[..rows.len() * self.capacity.vocabulary])
    }

    fn adapt(&mut self, slot: usize, adapter: Option<&Arc<Adapter>>) -> Result<(), BackendError> {
        self.adapters[slot] = adapter.map_or(NO_ADAPTER, |adapter| {
            let mut hash = DefaultHasher::new();
            adapter.name.hash(&mut hash);
            hash.finish()
        });
        Ok(())
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        let head = self.slots[from].get(..tokens).map(<[Position]>::to_vec);
        let copied = head.is_some();
        self.slots[to] = head.unwrap_or_default();
        copied
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let flag = Arc::clone(&self.interrupted);
        Some(Interrupter::new(move |now| flag.set(now)))
    }
}

/// Set to end steps, as ONNX Runtime's terminate flag.
#[derive(Debug, Default)]
struct Flag {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Flag {
    fn set(&self, now: bool) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.changed.notify_all();
    }

    /// Waits so long, or until it is set; says whether it is.
    fn wait(&self, most: Duration) -> bool {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(set, most, |set| !*set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

const NO_ADAPTER: u64 = 0;
