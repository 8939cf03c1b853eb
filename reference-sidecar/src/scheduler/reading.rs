//! Which of the prompts that are being read gets the next chunk.

use super::MAX_OVERTAKES;

/// Slots whose prompt is being read, in order of admission.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    prompts: Vec<Prompt>,
    /// The last chunk among equals went to the shortest: the oldest is due.
    oldest_is_due: bool,
    /// Chunks since the prompt that was admitted first had one.
    passed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Prompt {
    slot: usize,
    priority: i32,
}

impl Reading {
    pub(super) fn push(&mut self, slot: usize, priority: i32) {
        self.prompts.push(Prompt { slot, priority });
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if self.prompts.first().is_some_and(|first| first.slot == slot) {
            self.passed = 0;
        }
        self.prompts.retain(|prompt| prompt.slot != slot);
    }

    /// Whose chunk is next. Among equally urgent ones in turns of the one with least to read, which soonest becomes a
    /// running stream, and of the one admitted first, which a flow of short prompts must not put off for good.
    pub(super) fn next(&self, unread: impl Fn(usize) -> usize) -> Option<usize> {
        if self.passed >= MAX_OVERTAKES {
            return self.prompts.first().map(|prompt| prompt.slot);
        }
        let urgent = self.prompts.iter().map(|prompt| prompt.priority).min()?;
        let mut equals = self.equals(urgent);
        if self.oldest_is_due { equals.next() } else { equals.min_by_key(|slot| unread(*slot)) }
    }

    /// The slot got a chunk.
    pub(super) fn took_turn(&mut self, slot: usize) {
        let Some(prompt) = self.prompts.iter().find(|prompt| prompt.slot == slot) else { return };
        let oldest = self.equals(prompt.priority).next();
        self.oldest_is_due = oldest != Some(slot);
        let first = self.prompts.first().is_some_and(|first| first.slot == slot);
        self.passed = if first { 0 } else { self.passed + 1 };
    }

    fn equals(&self, priority: i32) -> impl Iterator<Item = usize> {
        self.prompts.iter().filter(move |prompt| prompt.priority == priority).map(|prompt| prompt.slot)
    }
}
