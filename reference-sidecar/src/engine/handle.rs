//! The way into the engine: starting its thread, submitting work, and what it says of itself without being asked to
//! stop for it (HEALTH-005).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use thiserror::Error;

use super::{
    EventReader, SamplingParameters,
    events::{self, WaysIn},
    interrupts::Interrupts,
    sequence::{Command, Sequence},
    step_loop::StepLoop,
};
use crate::{
    backends::{Backend, BackendError, Capacity},
    memory,
    package::Adapter,
    scheduler::{Limits, SequenceId},
};

/// How an engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait for a slot; one more is refused (CONCURRENCY-006).
    pub queue: usize,
    /// Prompt tokens read between two decode steps, and in one chunk at most.
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
    /// Priority: lower values run first.
    pub priority: i32,
    /// Validated sampling parameters.
    pub sampling: SamplingParameters,
    /// Seed of the random draw.
    pub seed: u64,
    /// What it is computed with besides the model.
    pub adapter: Option<Arc<Adapter>>,
}

/// A job that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The queue of the model is full (CONCURRENCY-006).
    #[error("{waiting} requests already wait for this model; try again later")]
    QueueFull {
        /// Most requests that may wait.
        waiting: usize,
    },
    /// The prompt has no tokens (ERROR-005).
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// The prompt is longer than the model's context (ERROR-004).
    #[error("the prompt has {tokens} tokens, and the model's context holds {context}")]
    PromptTooLong {
        /// Number of the prompt's tokens.
        tokens: usize,
        /// Tokens that the model's context holds.
        context: usize,
    },
    /// The tokenizer and the graph are of two models: the operator's fault.
    #[error("the prompt has the token {token}, and the model knows {vocabulary}")]
    UnknownToken {
        /// The token of the prompt that the model does not know.
        token: i64,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// The engine's thread is gone.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// An engine that did not start. For the log and the terminal.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system has no thread for it.
    #[error("failed to start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Its first steps failed.
    #[error("the model's first steps failed: {0}")]
    WarmUp(#[from] BackendError),
    /// There is a bug in it.
    #[error("the model's engine ended while it got ready")]
    Ended,
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

/// Counters that move while the engine runs; reading them never waits.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Requests that wait for a slot, those among them that had one and were preempted.
    pub waiting: AtomicUsize,
    /// Slots that are not free.
    pub busy: AtomicUsize,
    /// Tokens generated since the start.
    pub generated: AtomicU64,
    /// Tokens read since the start: of prompts, and of preempted sequences' texts; only those that were computed.
    pub prefilled: AtomicU64,
    /// Tokens that need not be computed, because a slot held them.
    pub reused: AtomicU64,
    /// Number of decode steps.
    pub steps: AtomicU64,
    /// Sequences continued by all decode steps together: divided by `steps`, the mean width of a batch.
    pub rows: AtomicU64,
    /// Prompt chunks, each one step.
    pub chunks: AtomicU64,
    /// Sequences sent back to the queue for a more urgent one.
    pub preempted: AtomicU64,
    /// Sequences that gave their slot up because their readers did not read.
    pub parked: AtomicU64,
    /// Prompt chunks ended before their time, because their reader was gone.
    pub interrupted: AtomicU64,
    /// Time in decode steps.
    pub decode_micros: AtomicU64,
    /// Time in prompt chunks.
    pub prefill_micros: AtomicU64,
}

/// A running engine. The last handle's end lets running sequences finish, and then ends the thread.
#[derive(Debug)]
pub struct EngineHandle {
    ways: WaysIn,
    capacity: Capacity,
    queue: usize,
    ahead: usize,
    next_id: AtomicU64,
    gauges: Arc<Gauges>,
    thread: thread::JoinHandle<()>,
}

impl EngineHandle {
    /// Starts the thread, named for debuggers after the model, and waits until its backend is ready.
    pub fn start(
        name: &str,
        backend: impl Backend + 'static,
        options: EngineOptions,
    ) -> Result<Self, StartError> {
        let (commands, received) = mpsc::channel();
        let capacity = backend.capacity();
        let gauges = Arc::new(Gauges::default());
        let interrupts = Arc::new(Interrupts::new(backend.interrupter()));
        let limits = Limits { slots: capacity.slots, prefill_budget: options.prefill_chunk };
        let (queue, ahead) = (options.queue, options.ahead);
        let shared = (Arc::clone(&gauges), Arc::clone(&interrupts));
        let mut step_loop = StepLoop::new(backend, limits, options.end_of_text, received, shared);
        let (warmed, warm) = mpsc::channel();
        let work = move || {
            let ready = step_loop.warm_up();
            let runs = ready.is_ok();
            let _ = warmed.send(ready);
            if runs {
                step_loop.run(); // and with it the backend is gone
                memory::give_back();
            }
        };
        let thread = thread::Builder::new().name(format!("engine {name}")).spawn(work)?;
        warm.recv().map_err(|_| StartError::Ended)??;
        let ways = WaysIn { commands, interrupts };
        Ok(Self { ways, capacity, queue, ahead, next_id: AtomicU64::new(0), gauges, thread })
    }

    /// Queues a job; the reader gets its tokens, and cancels it when dropped.
    pub fn submit(&self, job: Job) -> Result<EventReader, SubmitError> {
        let (tokens, Capacity { context, vocabulary, .. }) = (job.prompt.len(), self.capacity);
        if tokens == 0 {
            return Err(SubmitError::EmptyPrompt);
        }
        if tokens > context {
            return Err(SubmitError::PromptTooLong { tokens, context });
        }
        // A graph's look-up beyond its table is an error of the whole step on a CPU, and anything at all elsewhere.
        let known = |token: &i64| usize::try_from(*token).is_ok_and(|token| token < vocabulary);
        if let Some(&token) = job.prompt.iter().find(|token| !known(token)) {
            return Err(SubmitError::UnknownToken { token, vocabulary });
        }
        let place = Place::take(&self.gauges, self.queue + self.free_slots())
            .ok_or(SubmitError::QueueFull { waiting: self.queue })?;
        let id = SequenceId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (writer, reader) = events::channel(id, self.ahead, self.ways.clone());
        let sequence = Box::new(Sequence::new(id, job, context, writer));
        self.ways.commands.send(Command::Submit(sequence, place)).map_err(|_| EngineError::Stopped)?;
        Ok(reader)
    }

    /// Ends the thread after the step that it is in; whatever runs ends with [`EngineError::Stopped`].
    pub fn stop(&self) {
        let _ = self.ways.commands.send(Command::Stop);
    }

    /// What the model offers.
    pub const fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What it is doing.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// The thread has ended: it was stopped, or there is a bug in it.
    pub fn is_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    /// A burst into an idle engine is not a queue: places that a free slot will take at once do not count.
    fn free_slots(&self) -> usize {
        self.capacity.slots.saturating_sub(self.gauges.busy.load(Ordering::Relaxed))
    }
}

/// A place in the queue; given up when dropped, at admission or cancellation.
#[derive(Debug)]
pub(super) struct Place(Arc<Gauges>);

impl Place {
    fn take(gauges: &Arc<Gauges>, limit: usize) -> Option<Self> {
        let taken = gauges.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < limit).then_some(waiting + 1)
        });
        taken.ok().map(|_| Self(Arc::clone(gauges)))
    }

    /// For a sequence that must leave its slot: it was accepted long ago, so the limit is not asked. The one that
    /// takes the slot gives up its own place, so the queue grows by none.
    pub(super) fn give_back(gauges: &Arc<Gauges>) -> Self {
        gauges.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauges))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
