//! The words that scheduler and engine share: a sequence, a slot's state, one step.

/// A generation inside the engine. Never reused while the engine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// What one KV slot holds.
///
/// ```text
/// Free ──seated──▶ Prefill { done: 0 } ──kept head, chunks──▶ Decode ──ended, cancelled, preempted──▶ Free
///                          └──────────────cancelled, preempted─────────────────────────────────────▲
/// ```
///
/// A preempted sequence comes back as `Prefill` of all that it had in the cache, prompt and text, and goes on decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotState {
    /// No sequence has the slot.
    #[default]
    Free,
    /// `done` of `total` tokens are in the KV cache.
    Prefill {
        /// The sequence in the slot.
        id: SequenceId,
        /// Tokens read so far.
        done: usize,
        /// Tokens of the whole prompt; of prompt and text, less the last token, for one that was preempted.
        total: usize,
    },
    /// One token a step; held back while `ready` is false, because its reader has not taken the last ones.
    Decode {
        /// The sequence in the slot.
        id: SequenceId,
        /// May run in the next step.
        ready: bool,
    },
}

impl SlotState {
    /// The sequence in the slot.
    pub const fn id(self) -> Option<SequenceId> {
        match self {
            Self::Free => None,
            Self::Prefill { id, .. } | Self::Decode { id, .. } => Some(id),
        }
    }

    /// Has a next token, and nowhere to put it.
    pub const fn is_held_back(self) -> bool {
        matches!(self, Self::Decode { ready: false, .. })
    }

    /// Runs in a decode step now.
    pub const fn decodes(self) -> bool {
        matches!(self, Self::Decode { ready: true, .. })
    }
}

/// One step of the backend. The attention operator takes several new tokens of one sequence or one new token of several,
/// so a step is either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing can run: wait for an arrival or a reader.
    Idle,
    /// Read the sequence's tokens `start..end` into `slot`.
    Prefill {
        /// The slot to read into.
        slot: usize,
        /// First token of the chunk.
        start: usize,
        /// One past its last token.
        end: usize,
    },
    /// Continue every slot that decodes; the step computes slots `0..rows`.
    Decode {
        /// The smallest prefix of the slots that holds all that decode.
        rows: usize,
    },
}
