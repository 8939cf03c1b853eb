//! Who waits for a slot, and who is next.

use super::SequenceId;

/// After so many admissions past the longest-waiting request, it goes next whatever its priority: under a steady flow
/// of urgent work the request at place `p` is admitted within `(MAX_OVERTAKES + 1) * p` admissions (CONCURRENCY-008).
pub const MAX_OVERTAKES: u32 = 16;

/// Requests that wait, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    overtakes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: SequenceId,
    priority: i32,
    prompt: usize,
}

impl Queue {
    /// Adds an arrival of `prompt` tokens at the end.
    pub fn push(&mut self, id: SequenceId, priority: i32, prompt: usize) {
        self.waiting.push(Waiting { id, priority, prompt });
    }

    /// Takes the next to admit, with its prompt's length.
    pub fn pop(&mut self) -> Option<(SequenceId, usize)> {
        // `min_by_key` keeps the first of equals, which is the first come: the list is in order of arrival.
        let urgent = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.priority)?.0;
        let next = if self.overtakes >= MAX_OVERTAKES { 0 } else { urgent };
        self.overtakes = if next == 0 { 0 } else { self.overtakes + 1 };
        let Waiting { id, prompt, .. } = self.waiting.remove(next);
        Some((id, prompt))
    }

    /// Forgets one that will not be served; true when it was waiting.
    pub fn remove(&mut self, id: SequenceId) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting.id == id);
        place.map(|place| self.waiting.remove(place)).is_some()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
