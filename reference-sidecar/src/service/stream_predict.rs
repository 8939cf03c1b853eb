//! `StreamPredict`: one call, any number of generations on it (STREAM-013).
//!
//! The call is one state machine, polled by the transport when it has room for a response: so a reader that does not
//! read is felt as far as the engine, and dropping the call, for whatever reason, cancels all that it started. What must
//! happen while it is not polled, the watch of [`calls`](super::calls) does.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use ai_inference_proto::{Dialect, GenerationRequest, GenerationResponse, WireDialect};
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::{StreamExt as _, StreamMap, wrappers::WatchStream};
use tonic::{Request, Status, Streaming};

use super::{
    Phase, Refusal, State,
    calls::{Calls, Open, Watched},
    deadline,
    generation::Generation,
};
use crate::telemetry::TraceParent;

/// The responses of a call in one dialect.
pub(super) type Responses<W> =
    Pin<Box<dyn Stream<Item = Result<<W as WireDialect>::Response, Status>> + Send>>;

/// Answers a call. Returns at once: everything happens while the responses are polled.
pub(super) fn stream_predict<W: WireDialect>(
    state: &Arc<State>,
    request: Request<Streaming<W::Request>>,
) -> Responses<W> {
    let deadline = deadline::of(request.metadata());
    let parent = TraceParent::of(request.metadata());
    let inbound = request.into_inner().map(|message| message.map(Into::into));
    let call = Call {
        state: Arc::clone(state),
        dialect: W::DIALECT,
        parent,
        inbound: Some(inbound),
        running: StreamMap::new(),
        started: false,
        deadline: deadline.map(|time| Box::pin(sleep(time))),
        phases: WatchStream::new(state.phase.subscribe()),
        phase: Phase::Serving,
        open: None,
        resting: Instant::now(),
        due: Arc::new(Due::default()),
        unread: None,
        ended: None,
        over: false,
    };
    Box::pin(Shared::new(state, call).map(|response| response.map(Into::into)))
}

/// The call, shared with the watch.
struct Shared<I>(Arc<Mutex<Call<I>>>);

impl<I: Stream<Item = Result<GenerationRequest, Status>> + Unpin + Send + 'static> Shared<I> {
    fn new(state: &Arc<State>, call: Call<I>) -> Self {
        let call = Arc::new(Mutex::new(call));
        let weak: Weak<Mutex<Call<I>>> = Arc::downgrade(&call);
        match Calls::open(state, weak) {
            Some(open) => lock(&call).open = Some(open),
            None => lock(&call).end(Refusal::TooManyCalls),
        }
        Self(call)
    }
}

impl<I: Stream<Item = Result<GenerationRequest, Status>> + Unpin> Stream for Shared<I> {
    type Item = Result<GenerationResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *lock(&self.0)).poll_next(context)
    }
}

impl<I: Stream<Item = Result<GenerationRequest, Status>> + Unpin + Send> Watched for Mutex<Call<I>> {
    fn look(&self, now: Instant, phase: Phase, patience: Duration) {
        lock(self).look(now, phase, patience);
    }
}

fn lock<I>(call: &Mutex<Call<I>>) -> MutexGuard<'_, Call<I>> {
    call.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Call<I> {
    state: Arc<State>,
    dialect: Dialect,
    parent: Option<TraceParent>,
    /// `None` after the client's half-close.
    inbound: Option<I>,
    running: StreamMap<String, Generation>,
    /// Whether there was a request.
    started: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    phases: WatchStream<Phase>,
    phase: Phase,
    /// Its place among the open calls.
    open: Option<Open>,
    /// Since when nothing runs.
    resting: Instant,
    due: Arc<Due>,
    /// Since when it is due, as the watch has seen it.
    unread: Option<Instant>,
    /// Ended by the watch; to be told when there is room for it.
    ended: Option<Status>,
    over: bool,
}

impl<I> Call<I>
where
    I: Stream<Item = Result<GenerationRequest, Status>> + Unpin,
{
    /// The server's and the caller's patience.
    fn check_time(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        while let Poll::Ready(Some(phase)) = Pin::new(&mut self.phases).poll_next(context) {
            self.phase = phase;
        }
        let expired = |sleep: &mut Pin<Box<Sleep>>| sleep.as_mut().poll(context).is_ready();
        if self.deadline.as_mut().is_some_and(expired) {
            return Err(self.refuse(Refusal::Deadline));
        }
        if self.phase == Phase::Closing { Err(self.refuse(Refusal::Cut)) } else { Ok(()) }
    }

    /// Starts every request that has come (STREAM-008).
    fn take_requests(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        while self.running.len() < AT_ONCE
            && let Some(inbound) = &mut self.inbound
            && let Poll::Ready(message) = Pin::new(inbound).poll_next(context)
        {
            match message.transpose()? {
                Some(request) => self.start(request)?,
                None if self.started => self.inbound = None,
                None => return Err(self.refuse(Refusal::NoRequest)),
            }
        }
        Ok(())
    }

    fn start(&mut self, request: GenerationRequest) -> Result<(), Refusal> {
        self.started = true;
        if request.trace_id().len() > LONGEST_TRACE {
            return Err(Refusal::TraceTooLong);
        }
        let generation = Generation::new(&self.state, request, self.dialect, self.parent.as_ref());
        if self.running.contains_key(generation.trace_id()) {
            return Err(generation.refuse(Refusal::TraceInUse));
        }
        self.running.insert(generation.trace_id().to_owned(), generation);
        Ok(())
    }

    /// What the transport would learn only if it polled.
    fn look(&mut self, now: Instant, phase: Phase, patience: Duration) {
        if self.over || self.ended.is_some() {
            return;
        }
        if self.due.now.load(Ordering::Relaxed) {
            let unread = now.saturating_duration_since(*self.unread.get_or_insert(now));
            let patience = if phase == Phase::Draining { patience.min(LAST_PATIENCE) } else { patience };
            if self.deadline.as_ref().is_some_and(|deadline| deadline.deadline() <= now) {
                self.end(Refusal::Deadline);
            } else if phase == Phase::Closing {
                self.end(Refusal::Cut);
            } else if unread >= patience {
                self.end(Refusal::Unread);
            }
            return;
        }
        self.unread = None;
        if self.running.is_empty() {
            let rests = now.saturating_duration_since(self.resting);
            if rests >= if self.started { REST } else { patience * SILENCE } {
                self.end(Refusal::Idle);
            }
        }
    }

    /// Ends the call while it is not polled. What it holds is free now; its client is told when it reads.
    fn end(&mut self, refusal: Refusal) {
        let running: Vec<_> = self.running.keys().cloned().collect();
        for generation in running.iter().filter_map(|trace_id| self.running.remove(trace_id)) {
            let _ = generation.refuse(refusal.clone());
        }
        self.inbound = None;
        self.open = None;
        self.ended = Some(self.refuse(refusal));
        self.due.waker.wake();
    }

    /// Ends the call as a whole; a generation's own refusal is counted by its account.
    fn refuse(&self, refusal: Refusal) -> Status {
        self.state.metrics.events.refused(refusal.reason());
        refusal.into()
    }

    /// The next response of whichever generation has one; `None` when the call is done.
    fn next_response(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<GenerationResponse>, Status>> {
        if let Some(status) = self.ended.take() {
            return Poll::Ready(Err(status));
        }
        self.check_time(context)?;
        self.take_requests(context)?;
        match Pin::new(&mut self.running).poll_next(context) {
            Poll::Ready(Some((trace_id, response))) => {
                let response = response?;
                if response.end_of_stream {
                    // Now, not when it is polled again: its trace_id is free as soon as the client sees this.
                    self.running.remove(&trace_id);
                    self.resting = Instant::now();
                }
                Poll::Ready(Ok(Some(response)))
            }
            Poll::Ready(None) if self.inbound.is_none() => Poll::Ready(Ok(None)),
            // All is answered, and no more will be taken.
            Poll::Ready(None) if self.phase == Phase::Draining => {
                if self.started {
                    Poll::Ready(Ok(None))
                } else {
                    Poll::Ready(Err(self.refuse(Refusal::Draining)))
                }
            }
            _ => Poll::Pending,
        }
    }
}

impl<I> Stream for Call<I>
where
    I: Stream<Item = Result<GenerationRequest, Status>> + Unpin,
{
    type Item = Result<GenerationResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.due.now.store(false, Ordering::Relaxed);
        self.unread = None; // there is room: what came before has been read, however slowly
        self.due.waker.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.due));
        let response = std::task::ready!(self.next_response(&mut Context::from_waker(&waker))).transpose();
        self.due.now.store(true, Ordering::Relaxed);
        if !matches!(response, Some(Ok(_))) {
            // Cancels what runs, before the transport has sent the status.
            self.over = true;
            self.running.clear();
            self.inbound = None;
        }
        Poll::Ready(response)
    }
}

/// Whether it is the transport's turn: the call has a response, or was woken for one, and was not polled since. It may well
/// have been polled to its end of what there is: what is encoded waits in the layers above for its client to take it.
struct Due {
    now: AtomicBool,
    waker: AtomicWaker,
}

impl Default for Due {
    /// It is not polled before there is room.
    fn default() -> Self {
        Self { now: AtomicBool::new(true), waker: AtomicWaker::new() }
    }
}

impl Wake for Due {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.now.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// Unfinished generations of one call; further requests stay in the transport, which holds their sender back.
const AT_ONCE: usize = 256;
/// A trace_id is sent back with every chunk: a long one would make a small request a large answer.
pub(super) const LONGEST_TRACE: usize = 4096;
/// A call that has asked for nothing yet is ended after so many times the patience with readers.
const SILENCE: u32 = 2;
/// A call whose requests are all answered may bring another one for so long.
const REST: Duration = Duration::from_mins(10);
/// While the server drains, a client that does not read is waited for no longer.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
