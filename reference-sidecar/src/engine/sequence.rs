//! One generation inside the engine, and what the outside may tell the engine about it.

use std::sync::Arc;

use super::{
    EngineError, Finish, Sampler,
    alarms::Alarms,
    events::EventWriter,
    handle::{Job, Place},
};
use crate::{backends::Row, package::Adapter, scheduler::SequenceId};

/// What reaches the engine's thread.
#[derive(Debug)]
pub(super) enum Command {
    /// A new sequence, with its place in the queue.
    Submit(Box<Sequence>, Place),
    /// Its reader is gone.
    Cancel(SequenceId),
    /// A reader has made room.
    Wake,
    /// The process ends.
    Stop,
}

/// A sequence from submission to its end. It can be taken out of its slot at any time and seated again: all that it is
/// made of is here, and what the slot held can be computed again from `tokens`.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    pub(super) priority: i32,
    pub(super) adapter: Option<Arc<Adapter>>,
    /// The prompt, and what was generated.
    tokens: Vec<i64>,
    /// Of which so many are the prompt's.
    prompt: usize,
    /// Of which so many are valid in its slot.
    pub(super) past: usize,
    /// Of which so many were read, several at a time.
    read: usize,
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
        let Job { priority, prompt: tokens, adapter, .. } = job;
        let prompt = tokens.len();
        Self { id, priority, adapter, tokens, prompt, past: 0, read: 0, bound, sampler, events }
    }

    /// All tokens: `tokens()[start..end]` are what a chunk reads.
    pub(super) fn tokens(&self) -> &[i64] {
        &self.tokens
    }

    /// How many tokens to read before decoding: the whole prompt, whose last logits choose the first token; or, of a
    /// sequence that was preempted, all but the last, which the next decode step feeds.
    pub(super) fn to_read(&self) -> usize {
        if self.has_begun() { self.tokens.len() - 1 } else { self.tokens.len() }
    }

    /// What it may take over from a slot that holds the same. Two tokens are left to read: the last for its logits, and not
    /// alone, see [`Self::head`].
    pub(super) fn reusable(&self) -> &[i64] {
        &self.tokens[..self.to_read().saturating_sub(2)]
    }

    /// Some of its text is with the reader.
    pub(super) const fn has_begun(&self) -> bool {
        self.tokens.len() > self.prompt
    }

    /// What its slot holds that another sequence may take over: what was read, not what was decoded. A quantised model
    /// rounds otherwise when it computes a single token, so a decoded head would give another text than the same
    /// head read, and equal requests unequal answers (SAMPLING-003).
    pub(super) fn head(&self) -> &[i64] {
        &self.tokens[..self.read]
    }

    /// The slot holds its first `tokens`, which another sequence has read.
    pub(super) fn take_over(&mut self, tokens: usize) {
        (self.past, self.read) = (tokens, tokens);
    }

    /// The tokens up to `end` were read.
    pub(super) fn has_read(&mut self, end: usize) {
        if end - self.past > 1 && self.read == self.past {
            self.read = end;
        }
        self.past = end;
    }

    /// The slot holds nothing of it any more.
    pub(super) fn forget(&mut self) {
        self.take_over(0);
    }

    /// Its part in a decode step, whether it decodes or is passed over.
    pub(super) fn row(&self) -> Row {
        Row { token: self.tokens.get(self.past).copied().unwrap_or_default(), past: self.past }
    }

    /// Draws the next token from `logits` and hands it to the reader. `Some` when the sequence has ended, and how: logits that
    /// are no numbers end it as a failure of the model's.
    pub(super) fn advance(
        &mut self,
        logits: &mut [f32],
        end_of_text: &[u32],
        alarms: &mut Alarms,
    ) -> Option<Result<Finish, EngineError>> {
        let Some(token) = self.sampler.sample(logits) else {
            tracing::error!(position = self.past, "the model gave logits that are no numbers");
            return Some(Err(EngineError::Backend));
        };
        if end_of_text.contains(&token) {
            return Some(Ok(Finish::EndOfText));
        }
        self.tokens.push(i64::from(token));
        self.events.send(token, alarms);
        (self.tokens.len() - self.prompt >= self.bound.0).then_some(Ok(self.bound.1))
    }

    pub(super) fn has_room(&self) -> bool {
        self.events.has_room()
    }

    /// Its reader is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    pub(super) fn finish(self, outcome: Result<Finish, EngineError>, alarms: &mut Alarms) {
        self.events.finish(outcome, alarms);
    }
}
