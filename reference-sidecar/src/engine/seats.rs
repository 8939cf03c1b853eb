//! Who has which slot, and what each slot of the KV cache holds: of a sequence that runs, or kept from one that left.
//!
//! Owns the backend, so that nothing computes or copies without being noted here. The cache's rule that all this keeps:
//! a row that takes no part in a decode step still writes one position, so a free slot says how much it keeps, and the
//! write lands right behind; what is kept leaves room for it.

use std::sync::Arc;

use super::{
    prefix::{self, Choice, Head, Reuse},
    sequence::Sequence,
};
use crate::{
    backends::{Backend, BackendError, Row},
    package::Adapter,
};

pub(super) struct Seats<B> {
    backend: B,
    slots: Vec<Seat>,
    /// The backend has not refused to copy yet.
    copies: bool,
    /// Scratch of a decode step.
    rows: Vec<Row>,
}

/// One slot: its sequence, or what it still holds of the last one.
#[derive(Debug, Default)]
struct Seat {
    sequence: Option<Box<Sequence>>,
    /// What the slot holds while it has no sequence.
    kept: Vec<i64>,
    /// The adapter that it was computed with.
    adapter: Option<Arc<Adapter>>,
    /// What the backend was last told; `None` when it failed to obey.
    told: Option<Told>,
}

/// The adapter that the backend computes a slot with.
#[derive(Debug, Default)]
struct Told(Option<Arc<Adapter>>);

/// A step's logits, row after row, or why there are none.
pub(super) type Logits<'a> = Result<&'a mut [f32], BackendError>;

impl<B: Backend> Seats<B> {
    pub(super) fn new(backend: B) -> Self {
        let slots = backend.capacity().slots.max(1);
        // A new backend computes without adapters.
        let seat = || Seat { told: Some(Told::default()), ..Seat::default() };
        let slots = (0..slots).map(|_| seat()).collect();
        Self { backend, slots, copies: true, rows: Vec::new() }
    }

    /// Before the first sequence, on the thread that makes all steps.
    pub(super) fn warm_up(&mut self) -> Result<(), BackendError> {
        self.backend.warm_up()
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.backend.capacity().vocabulary
    }

    pub(super) fn busy(&self) -> usize {
        self.sequences().count()
    }

    /// Every sequence that has a slot.
    pub(super) fn sequences(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.slots.iter().enumerate().filter_map(|(slot, seat)| Some((slot, seat.sequence.as_deref()?)))
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Sequence> {
        self.slots.get(slot)?.sequence.as_deref()
    }

    /// The free slot that suits the sequence best.
    pub(super) fn choose(&self, sequence: &Sequence) -> Option<Choice> {
        let heads: Vec<_> = self.slots.iter().map(Seat::head).collect();
        prefix::choose(&heads, sequence.reusable(), sequence.adapter.as_ref(), self.copies)
    }

    /// Seats the sequence. Returns how much of it the slot holds then; an error says that the slot cannot compute it.
    pub(super) fn seat(
        &mut self,
        choice: Choice,
        mut sequence: Box<Sequence>,
    ) -> Result<usize, BackendError> {
        let adapted = self.adapt(choice.slot, sequence.adapter.as_ref());
        if adapted.is_ok() {
            if let Some(spare) = choice.save {
                self.copy(choice.slot, spare, self.slots[choice.slot].kept.len());
            }
            sequence.take_over(match choice.reuse {
                Reuse::InPlace(tokens) => tokens,
                Reuse::Copy { from, tokens } if self.copy(from, choice.slot, tokens) => tokens,
                Reuse::Copy { .. } => 0,
            });
        }
        let reused = sequence.past;
        let seat = &mut self.slots[choice.slot];
        (seat.kept, seat.adapter) = (Vec::new(), None);
        seat.sequence = Some(sequence);
        adapted.map(|()| reused)
    }

    /// Frees the slot, which keeps what it holds.
    pub(super) fn vacate(&mut self, slot: usize) -> Option<Box<Sequence>> {
        // The next step may pass over this slot and write one position behind what is kept.
        let most = self.backend.capacity().context.saturating_sub(1);
        let seat = self.slots.get_mut(slot)?;
        let mut sequence = seat.sequence.take()?;
        let head = sequence.head();
        seat.kept = head[..head.len().min(most)].to_vec();
        seat.adapter.clone_from(&sequence.adapter);
        sequence.forget();
        Some(sequence)
    }

    /// Reads `tokens()[start..end]` of the sequence in the slot.
    pub(super) fn prefill(
        &mut self,
        slot: usize,
        start: usize,
        end: usize,
    ) -> Option<(&mut Sequence, Logits<'_>)> {
        let sequence = self.slots.get_mut(slot)?.sequence.as_deref_mut()?;
        let logits = self.backend.prefill(slot, start, &sequence.tokens()[start..end]);
        match &logits {
            Ok(_) => sequence.has_read(end),
            // What was there before the step is still valid.
            Err(BackendError::Interrupted) => {}
            Err(BackendError::Failed(_)) => sequence.forget(),
        }
        Some((sequence, logits))
    }

    /// Continues the sequences of the slots `0..rows` for which `decodes` holds.
    pub(super) fn decode(
        &mut self,
        rows: usize,
        decodes: impl Fn(usize) -> bool,
    ) -> Result<impl Iterator<Item = (usize, &mut Sequence, &mut [f32])>, BackendError> {
        let vocabulary = self.vocabulary();
        self.rows.clear();
        // A row that is passed over feeds a token that every model has: what its own prompt says next may be one that this
        // model has not, and would fail the step of all.
        self.rows.extend(self.slots[..rows].iter().enumerate().map(|(slot, seat)| match seat.row() {
            row if decodes(slot) => row,
            row => Row { token: 0, ..row },
        }));
        let logits = self.backend.decode(&self.rows)?;
        let all = self.slots[..rows].iter_mut().zip(logits.chunks_exact_mut(vocabulary)).enumerate();
        let taking_part = all.filter(move |(slot, _)| decodes(*slot));
        Ok(taking_part.filter_map(|(slot, (seat, logits))| {
            let sequence = seat.sequence.as_deref_mut()?;
            sequence.past += 1;
            Some((slot, sequence, logits))
        }))
    }

    /// Continues one sequence by itself, after a step with others has failed.
    pub(super) fn decode_alone(&mut self, slot: usize) -> Option<(&mut Sequence, Logits<'_>)> {
        let sequence = self.slots.get_mut(slot)?.sequence.as_deref_mut()?;
        let Row { token, past } = sequence.row();
        let logits = self.backend.prefill(slot, past, &[token]);
        match &logits {
            Ok(_) => sequence.past += 1,
            Err(_) => sequence.forget(),
        }
        Some((sequence, logits))
    }

    fn adapt(&mut self, slot: usize, adapter: Option<&Arc<Adapter>>) -> Result<(), BackendError> {
        let told = self.slots[slot].told.take();
        if told.is_none_or(|told| told.0.as_ref().map(Arc::as_ptr) != adapter.map(Arc::as_ptr)) {
            self.backend.adapt(slot, adapter)?;
        }
        self.slots[slot].told = Some(Told(adapter.cloned()));
        Ok(())
    }

    /// Makes the first `tokens` of `from` those of the free slot `to`.
    fn copy(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        self.copies = self.backend.copy_prefix(from, to, tokens);
        let (kept, adapter) = if self.copies {
            let head = self.slots[from].head();
            (head.tokens[..tokens].to_vec(), head.adapter.cloned())
        } else {
            (Vec::new(), None)
        };
        let seat = &mut self.slots[to];
        (seat.kept, seat.adapter) = (kept, adapter);
        self.copies
    }
}

impl Seat {
    fn head(&self) -> Head<'_> {
        match &self.sequence {
            Some(sequence) => {
                Head { tokens: sequence.head(), adapter: sequence.adapter.as_ref(), free: false }
            }
            None => Head { tokens: &self.kept, adapter: self.adapter.as_ref(), free: true },
        }
    }

    fn row(&self) -> Row {
        match &self.sequence {
            Some(sequence) => sequence.row(),
            None => Row { token: 0, past: self.kept.len() },
        }
    }
}
