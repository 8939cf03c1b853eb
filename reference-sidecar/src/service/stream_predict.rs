//! `StreamPredict`: one call, any number of generations on it (STREAM-013).
//!
//! The call is one state machine, polled by the transport when it has room for a response: so a reader that does not
//! read is felt as far as the engine, and dropping the call, for whatever reason, cancels all that it started.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ai_inference_proto::{Dialect, GenerationRequest, GenerationResponse, WireDialect};
use futures_core::Stream;
use tokio::time::{Sleep, sleep};
use tokio_stream::{StreamExt as _, StreamMap, wrappers::WatchStream};
use tonic::{Request, Status, Streaming};

use super::{Phase, Refusal, State, deadline, generation::Generation};
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
        over: false,
    };
    Box::pin(call.map(|response| response.map(Into::into)))
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
        self.check_time(context)?;
        self.take_requests(context)?;
        match Pin::new(&mut self.running).poll_next(context) {
            Poll::Ready(Some((trace_id, response))) => {
                let response = response?;
                if response.end_of_stream {
                    // Now, not when it is polled again: its trace_id is free as soon as the client sees this.
                    self.running.remove(&trace_id);
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
        let response = std::task::ready!(self.next_response(context)).transpose();
        if !matches!(response, Some(Ok(_))) {
            // Cancels what runs, before the transport has sent the status.
            self.over = true;
            self.running.clear();
            self.inbound = None;
        }
        Poll::Ready(response)
    }
}

/// Unfinished generations of one call; further requests stay in the transport, which holds their sender back.
const AT_ONCE: usize = 256;
/// A trace_id is sent back with every chunk: a long one would make a small request a large answer.
pub(super) const LONGEST_TRACE: usize = 4096;
