//! The way out of the engine: one bounded channel of tokens per sequence, and how each end learns of the other.
//!
//! The engine never waits for a reader: it looks for room before a step, and a sequence without room sits the step
//! out. The reader wakes the engine when it makes room that the engine has missed, and cancels when it is dropped.
//!
//! A token that is sent wakes no reader yet: the writer hands out the reader's waker, and the engine rings all of a
//! step at once (`alarms`).

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::{EngineError, alarms::Alarms, interrupts::Interrupts, sequence::Command};
use crate::scheduler::SequenceId;

/// Why a sequence ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended the text.
    EndOfText,
    /// As many tokens as were asked for.
    MaxNewTokens,
    /// No room left in the model's context.
    ContextFull,
}

/// Both ends of a new sequence's channel, which holds `ahead` tokens; memory is taken as they come.
pub(super) fn channel(id: SequenceId, ahead: usize, ways: WaysIn) -> (EventWriter, EventReader) {
    let channel = Arc::new(Channel::default());
    let writer = EventWriter { channel: Arc::clone(&channel), ahead: ahead.max(1) };
    (writer, EventReader { id, channel, ways })
}

/// How a reader reaches the engine.
#[derive(Clone, Debug)]
pub(super) struct WaysIn {
    pub(super) commands: Sender<Command>,
    pub(super) interrupts: Arc<Interrupts>,
}

#[derive(Debug, Default)]
struct Channel(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tokens: VecDeque<u32>,
    /// The outcome, read after the last token.
    outcome: Option<Result<Finish, EngineError>>,
    /// Tokens that were read.
    read: usize,
    /// When the last one was read, or the first came that waits.
    moved: Option<Instant>,
    /// The waker of the reader that waits.
    waker: Option<Waker>,
    /// The engine waits for room.
    starved: bool,
    /// The reader is gone.
    closed: bool,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's end. Dropped before its end, it says that the engine died.
#[derive(Debug)]
pub(super) struct EventWriter {
    channel: Arc<Channel>,
    ahead: usize,
}

impl EventWriter {
    /// There is room for the next token. If not, the reader will wake the engine when there is.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.channel.lock();
        let (waiting, ahead) = (state.tokens.len(), self.ahead.min(FIRST_AHEAD + AHEAD_A_READ * state.read));
        let stands_still = || state.moved.is_some_and(|moved| moved.elapsed() > STANDSTILL);
        state.starved = waiting >= ahead || (waiting >= UNREAD && stands_still());
        !state.starved
    }

    /// Hands a token over. Call only when there is room; what a reader that left would have got is dropped.
    pub(super) fn send(&self, token: u32, alarms: &mut Alarms) {
        let mut state = self.channel.lock();
        if state.tokens.is_empty() {
            state.moved = Some(Instant::now());
        }
        if !state.closed {
            state.tokens.push_back(token);
        }
        alarms.extend(state.waker.take());
    }

    /// The reader is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.channel.lock().closed
    }

    /// Ends the channel, after the tokens that are still in it.
    pub(super) fn finish(self, outcome: Result<Finish, EngineError>, alarms: &mut Alarms) {
        let mut state = self.channel.lock();
        state.outcome = Some(outcome);
        alarms.extend(state.waker.take());
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        let mut state = self.channel.lock();
        state.outcome.get_or_insert(Err(EngineError::Stopped));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// The service's end. Dropping it cancels the sequence.
#[derive(Debug)]
pub struct EventReader {
    id: SequenceId,
    channel: Arc<Channel>,
    ways: WaysIn,
}

impl EventReader {
    /// The next token; `None` when the sequence has ended, and then [`EventReader::outcome`] says how.
    pub async fn next(&mut self) -> Option<u32> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`EventReader::next`], polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<u32>> {
        let mut state = self.channel.lock();
        let Some(token) = state.tokens.pop_front() else {
            if state.outcome.is_some() {
                return Poll::Ready(None);
            }
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                state.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        state.read += 1;
        state.moved = Some(Instant::now());
        if std::mem::take(&mut state.starved) {
            let _ = self.ways.commands.send(Command::Wake);
        }
        Poll::Ready(Some(token))
    }

    /// As [`EventReader::next`], for callers outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<u32> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match self.poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(token) => return token,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// How the sequence ended, once `next` has returned `None`.
    pub fn outcome(&self) -> Result<Finish, EngineError> {
        self.channel.lock().outcome.clone().unwrap_or(Err(EngineError::Stopped))
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        let mut state = self.channel.lock();
        if state.outcome.is_none() {
            // In this order, so that the engine, before it begins a step of this sequence and after, sees either the
            // closed channel or the interruption.
            state.closed = true;
            drop(state);
            let _ = self.ways.commands.send(Command::Cancel(self.id));
            self.ways.interrupts.interrupt(self.id);
        }
    }
}

/// Tokens that may wait for a reader who has read nothing yet, and how many more with each that it reads: who reads is soon
/// far ahead of the network.
const FIRST_AHEAD: usize = 512;
const AHEAD_A_READ: usize = 4;
/// A generation stops while so many tokens wait and its reader has read none for as long as [`STANDSTILL`]: thousands of calls
/// whose answers nobody takes cost little.
const UNREAD: usize = 32;
/// A reader who is only slow to begin has begun by then.
const STANDSTILL: Duration = Duration::from_millis(50);

/// Wakes a thread that waits for a token.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_reader_who_reads_nothing_is_waited_for_and_wakes_the_engine_when_it_reads() {
        let (commands, woken) = mpsc::channel();
        let ways = WaysIn { commands, interrupts: Arc::new(Interrupts::new(None)) };
        let (writer, mut reader) = channel(SequenceId(1), 1024, ways);
        let mut alarms = Alarms::new();
        for token in 0..UNREAD as u32 {
            assert!(writer.has_room(), "token {token}");
            writer.send(token, &mut alarms);
            thread::sleep(STANDSTILL / UNREAD as u32 * 2);
        }
        assert!(!writer.has_room(), "nothing was read for longer than is waited");
        assert_eq!(reader.blocking_next(), Some(0));
        assert!(matches!(woken.try_recv(), Ok(Command::Wake)));
        assert!(writer.has_room());
    }
}
