//! The way out of the engine: one bounded channel of tokens per sequence, and how each end learns of the other.
//!
//! The engine never waits for a reader: it looks for room before a step, and a sequence without room sits the step
//! out. The reader wakes the engine when it makes room that the engine has missed, and cancels when it is dropped.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    task::{Context, Poll, ready},
};

use tokio::sync::mpsc;

use super::{EngineError, interrupts::Interrupts, sequence::Command};
use crate::scheduler::SequenceId;

/// Why a sequence ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model said so.
    EndOfText,
    /// As many tokens as were asked for.
    MaxNewTokens,
    /// No room left in the model's context.
    ContextFull,
}

/// Both ends of a new sequence's channel, which holds `ahead` tokens; memory is taken as they come.
pub(super) fn channel(id: SequenceId, ahead: usize, ways: WaysIn) -> (EventWriter, EventReader) {
    let (tokens, received) = mpsc::channel(ahead.max(1));
    let shared = Arc::new(Shared::default());
    let writer = EventWriter { tokens, shared: Arc::clone(&shared) };
    (writer, EventReader { id, tokens: received, shared, ways })
}

/// How a reader reaches the engine.
#[derive(Clone, Debug)]
pub(super) struct WaysIn {
    pub(super) commands: Sender<Command>,
    pub(super) interrupts: Arc<Interrupts>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Set once, before the channel closes; unset at its close means that the engine died.
    outcome: OnceLock<Result<Finish, EngineError>>,
    /// The engine waits for room.
    starved: AtomicBool,
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct EventWriter {
    tokens: mpsc::Sender<u32>,
    shared: Arc<Shared>,
}

impl EventWriter {
    /// There is room for the next token. If not, the reader will wake the engine when there is.
    pub(super) fn has_room(&self) -> bool {
        if self.tokens.capacity() > 0 {
            return true;
        }
        // The reader may have made room between the look and the flag, and not have seen the flag: look again.
        self.shared.starved.store(true, Ordering::SeqCst);
        self.tokens.capacity() > 0
    }

    /// Hands a token over. Call only when there is room; what a reader that left would have got is dropped.
    pub(super) fn send(&self, token: u32) {
        let _ = self.tokens.try_send(token);
    }

    /// The reader is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.tokens.is_closed()
    }

    /// Ends the channel, after the tokens that are still in it.
    pub(super) fn finish(self, outcome: Result<Finish, EngineError>) {
        let _ = self.shared.outcome.set(outcome);
    }
}

/// The service's end. Dropping it cancels the sequence.
#[derive(Debug)]
pub struct EventReader {
    id: SequenceId,
    tokens: mpsc::Receiver<u32>,
    shared: Arc<Shared>,
    ways: WaysIn,
}

impl EventReader {
    /// The next token; `None` when the sequence has ended, and then [`EventReader::outcome`] says how.
    pub async fn next(&mut self) -> Option<u32> {
        let token = self.tokens.recv().await;
        self.made_room();
        token
    }

    /// As [`EventReader::next`], polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<u32>> {
        let token = ready!(self.tokens.poll_recv(context));
        self.made_room();
        Poll::Ready(token)
    }

    /// As [`EventReader::next`], for callers outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<u32> {
        let token = self.tokens.blocking_recv();
        self.made_room();
        token
    }

    /// How the sequence ended, once `next` has returned `None`.
    pub fn outcome(&self) -> Result<Finish, EngineError> {
        self.shared.outcome.get().cloned().unwrap_or(Err(EngineError::Stopped))
    }

    fn made_room(&self) {
        if self.shared.starved.load(Ordering::SeqCst) && self.shared.starved.swap(false, Ordering::SeqCst) {
            let _ = self.ways.commands.send(Command::Wake);
        }
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        if self.shared.outcome.get().is_none() {
            // In this order, so that the engine, before it begins a step of this sequence and after, sees either the
            // closed channel or the interruption.
            self.tokens.close();
            let _ = self.ways.commands.send(Command::Cancel(self.id));
            self.ways.interrupts.interrupt(self.id);
        }
    }
}
