//! The way into the engine: starting its thread, submitting work, and what it says of itself without being asked to
//! stop for it (HEALTH-005).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Sender},
    },
    thread,
};

use thiserror::Error;

use super::{
    EventReader, SamplingParameters, events,
    sequence::{Command, Sequence},
    step_loop::StepLoop,
};
use crate::{
    backends::{Backend, Capacity},
    scheduler::{Limits, SequenceId},
};

/// How an engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait for a slot; one more is refused (CONCURRENCY-006).
    pub queue: usize,
    /// Prompt tokens read between two decode steps.
    pub prefill_chunk: usize,
    /// Tokens that a reader may be behind before its sequence is held back. A sequence that is held back keeps its
    /// slot, and a token takes four bytes: so this should be more than most generations are long.
    pub ahead: usize,
    /// Tokens that end a text.
    pub end_of_text: Vec<u32>,
}

/// A generation to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Token ids, at least one and at most the context.
    pub prompt: Vec<i64>,
    /// Lower first.
    pub priority: i32,
    /// Validated parameters.
    pub sampling: SamplingParameters,
    /// Of the draw.
    pub seed: u64,
}

/// A job that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// CONCURRENCY-006.
    #[error("{waiting} requests already wait for this model; try again later")]
    QueueFull {
        /// The limit.
        waiting: usize,
    },
    /// ERROR-005.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// ERROR-004.
    #[error("the prompt has {tokens} tokens, and the model's context holds {context}")]
    PromptTooLong {
        /// Of the prompt.
        tokens: usize,
        /// Of the model.
        context: usize,
    },
    /// The engine's thread is gone.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// A generation that ended badly, through no fault of the request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EngineError {
    /// The backend failed in a step of this sequence; the log has its reason.
    #[error("the model failed to compute this generation")]
    Backend,
    /// The engine's thread ended.
    #[error("the model's engine has stopped")]
    Stopped,
}

/// Counters that move while the engine runs; reading them waits for nobody.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Requests that wait for a slot.
    pub waiting: AtomicUsize,
    /// Slots that are not free.
    pub busy: AtomicUsize,
    /// Tokens generated since the start.
    pub generated: AtomicU64,
    /// Prompt tokens read since the start.
    pub prefilled: AtomicU64,
}

/// A running engine. The last handle's end lets running sequences finish, and then ends the thread.
#[derive(Debug)]
pub struct EngineHandle {
    commands: Sender<Command>,
    capacity: Capacity,
    queue: usize,
    ahead: usize,
    next_id: AtomicU64,
    gauges: Arc<Gauges>,
    thread: thread::JoinHandle<()>,
}

impl EngineHandle {
    /// Starts the thread, named for debuggers after the model.
    pub fn start(
        name: &str,
        backend: impl Backend + 'static,
        options: EngineOptions,
    ) -> std::io::Result<Self> {
        let (commands, received) = mpsc::channel();
        let capacity = backend.capacity();
        let gauges = Arc::new(Gauges::default());
        let limits = Limits { slots: capacity.slots, prefill_chunk: options.prefill_chunk };
        let (queue, ahead) = (options.queue, options.ahead);
        let step_loop = StepLoop::new(backend, limits, options.end_of_text, received, Arc::clone(&gauges));
        let thread = thread::Builder::new().name(format!("engine {name}")).spawn(move || step_loop.run())?;
        Ok(Self { commands, capacity, queue, ahead, next_id: AtomicU64::new(0), gauges, thread })
    }

    /// Queues a job; the reader gets its tokens, and cancels it when dropped.
    pub fn submit(&self, job: Job) -> Result<EventReader, SubmitError> {
        let (tokens, context) = (job.prompt.len(), self.capacity.context);
        if tokens == 0 {
            return Err(SubmitError::EmptyPrompt);
        }
        if tokens > context {
            return Err(SubmitError::PromptTooLong { tokens, context });
        }
        let place = Place::take(&self.gauges, self.queue + self.free_slots())
            .ok_or(SubmitError::QueueFull { waiting: self.queue })?;
        let id = SequenceId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (writer, reader) = events::channel(id, self.ahead, self.commands.clone());
        let sequence = Box::new(Sequence::new(id, job, context, writer));
        self.commands.send(Command::Submit(sequence, place)).map_err(|_| EngineError::Stopped)?;
        Ok(reader)
    }

    /// What the model offers.
    pub const fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What it is doing.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// The thread has ended, which only a bug in it can cause while there is a handle.
    pub fn is_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    /// A burst into an idle engine is not a queue: places that a free slot will take at once do not count.
    fn free_slots(&self) -> usize {
        self.capacity.slots.saturating_sub(self.gauges.busy.load(Ordering::Relaxed))
    }
}

/// A place in the queue; given back when dropped, at admission or cancellation.
#[derive(Debug)]
pub(super) struct Place(Arc<Gauges>);

impl Place {
    fn take(gauges: &Arc<Gauges>, limit: usize) -> Option<Self> {
        let taken = gauges.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < limit).then_some(waiting + 1)
        });
        taken.ok().map(|_| Self(Arc::clone(gauges)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
