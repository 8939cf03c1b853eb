//! One generation inside the engine, and what the outside may tell the engine about it.

use super::{
    EngineError, Finish, Sampler,
    events::EventWriter,
    handle::{Job, Place},
};
use crate::scheduler::SequenceId;

/// What reaches the engine's thread.
#[derive(Debug)]
pub(super) enum Command {
    /// A new sequence, with its place in the queue.
    Submit(Box<Sequence>, Place),
    /// Its reader is gone.
    Cancel(SequenceId),
    /// A reader has made room.
    Wake,
}

/// A sequence from submission to its end.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    pub(super) priority: i32,
    pub(super) prompt: Vec<i64>,
    /// Valid tokens in its slot.
    pub(super) past: usize,
    /// The token that the next decode step feeds.
    pub(super) next: i64,
    generated: usize,
    /// Tokens to generate at most, for whichever of two reasons is nearer.
    bound: (usize, Finish),
    sampler: Sampler,
    events: EventWriter,
}

impl Sequence {
    pub(super) fn new(id: SequenceId, job: Job, context: usize, events: EventWriter) -> Self {
        let asked = job.sampling.max_new_tokens;
        // A prompt that fills the context can still be answered by one token, which is never fed back.
        let room = (context - job.prompt.len()).max(1);
        let bound = if asked <= room { (asked, Finish::MaxNewTokens) } else { (room, Finish::ContextFull) };
        let sampler = Sampler::new(job.sampling, job.seed, &job.prompt);
        let Job { priority, prompt, .. } = job;
        Self { id, priority, prompt, past: 0, next: 0, generated: 0, bound, sampler, events }
    }

    /// Draws the next token from `logits` and hands it to the reader. `Some` when that was the last.
    pub(super) fn advance(&mut self, logits: &mut [f32], end_of_text: &[u32]) -> Option<Finish> {
        let token = self.sampler.sample(logits);
        if end_of_text.contains(&token) {
            return Some(Finish::EndOfText);
        }
        self.next = i64::from(token);
        self.generated += 1;
        self.events.send(token);
        (self.generated >= self.bound.0).then_some(self.bound.1)
    }

    pub(super) fn has_room(&self) -> bool {
        self.events.has_room()
    }

    pub(super) fn finish(self, outcome: Result<Finish, EngineError>) {
        self.events.finish(outcome);
    }
}
