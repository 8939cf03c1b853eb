//! The scheduler itself: slots, queue, and the choice of the next step.

use super::{Plan, Queue, SequenceId, SlotState};

/// What the scheduler may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at once.
    pub slots: usize,
    /// Prompt tokens read in one step: bounds what a long prompt adds to another stream's gap between tokens.
    pub prefill_chunk: usize,
}

/// Which sequence is where. The engine reports what happened; [`Scheduler::plan`] says what to do.
#[derive(Clone, Debug)]
pub struct Scheduler {
    limits: Limits,
    queue: Queue,
    slots: Vec<SlotState>,
    /// Slots whose prompt is being read, in order of admission.
    reading: Vec<usize>,
    /// The last step read a prompt: a decode step is due.
    decode_is_due: bool,
    /// The last prompt step went to the shortest: the oldest is due.
    oldest_is_due: bool,
}

impl Scheduler {
    /// All slots free, nobody waiting.
    pub fn new(limits: Limits) -> Self {
        let slots = vec![SlotState::Free; limits.slots.max(1)];
        Self {
            limits,
            queue: Queue::default(),
            slots,
            reading: Vec::new(),
            decode_is_due: false,
            oldest_is_due: false,
        }
    }

    /// A request of `prompt` tokens (at least one) arrives.
    pub fn arrive(&mut self, id: SequenceId, priority: i32, prompt: usize) {
        self.queue.push(id, priority, prompt);
    }

    /// Gives one free slot to the next request, if there are both. Returns who got which.
    pub fn admit(&mut self) -> Option<(SequenceId, usize)> {
        let slot = self.slots.iter().position(|state| *state == SlotState::Free)?;
        let (id, total) = self.queue.pop()?;
        self.slots[slot] = SlotState::Prefill { id, done: 0, total };
        self.reading.push(slot);
        Some((id, slot))
    }

    /// The next step. Call [`Scheduler::admit`] until it returns `None` first.
    pub fn plan(&mut self) -> Plan {
        let rows = self.slots.iter().rposition(|state| state.decodes()).map_or(0, |last| last + 1);
        if rows > 0 && (self.decode_is_due || self.reading.is_empty()) {
            self.decode_is_due = false;
            return Plan::Decode { rows };
        }
        self.decode_is_due = true;
        self.next_prompt().unwrap_or(Plan::Idle)
    }

    /// The slot has its prompt's tokens up to `end` in the cache.
    pub fn prefilled(&mut self, slot: usize, end: usize) {
        if let SlotState::Prefill { id, total, .. } = self.slots[slot] {
            self.slots[slot] = if end >= total {
                self.reading.retain(|reading| *reading != slot);
                SlotState::Decode { id, ready: true }
            } else {
                SlotState::Prefill { id, done: end, total }
            };
        }
    }

    /// Holds a decoding sequence back, or lets it go on.
    pub fn set_ready(&mut self, slot: usize, now: bool) {
        if let SlotState::Decode { ready, .. } = &mut self.slots[slot] {
            *ready = now;
        }
    }

    /// The sequence ended, for whatever reason: its slot is free. Returns the slot if it had one.
    pub fn leave(&mut self, id: SequenceId) -> Option<usize> {
        if self.queue.remove(id) {
            return None;
        }
        let slot = self.slots.iter().position(|state| state.id() == Some(id))?;
        self.slots[slot] = SlotState::Free;
        self.reading.retain(|reading| *reading != slot);
        Some(slot)
    }

    /// Every slot, in order.
    pub fn slots(&self) -> &[SlotState] {
        &self.slots
    }

    /// How many wait for a slot.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The next chunk of a prompt: in turns of the one with least to read, which soonest becomes a running stream, and
    /// of the one admitted first, which a flow of short prompts must not put off for good.
    fn next_prompt(&mut self) -> Option<Plan> {
        let unread = |slot: &usize| match self.slots[*slot] {
            SlotState::Prefill { done, total, .. } => total - done,
            _ => 0,
        };
        let oldest = self.reading.first().copied()?;
        let shortest = self.reading.iter().copied().min_by_key(unread)?;
        let slot = if self.oldest_is_due { oldest } else { shortest };
        self.oldest_is_due = slot != oldest;
        let SlotState::Prefill { done: start, total, .. } = self.slots[slot] else { return None };
        let end = total.min(start + self.limits.prefill_chunk.max(1));
        Some(Plan::Prefill { slot, start, end })
    }
}
