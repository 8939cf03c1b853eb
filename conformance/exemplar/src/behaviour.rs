//! What an endpoint does, one seam a method. The defaults keep the contract; a mutant overrides one of them.

use std::{
    any::Any,
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use ai_inference_proto::{ControlMessage, Dialect, GenerationRequest, GenerationResponse, HealthAnswer};
use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use tonic::Status;

use super::{
    frames::{Arrival, Fate},
    language::{self, Script},
    state::State,
};

pub use super::service::{HttpRequest, HttpResponse, Next};

/// The requests of one StreamPredict call, undecoded.
pub type Requests = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
/// The responses to one request.
pub type Responses = Pin<Box<dyn Stream<Item = Result<GenerationResponse, Status>> + Send>>;

/// A place among the generations that run; it is given back when the value is dropped, at the work's end.
pub type Turn = Box<dyn Any + Send>;

/// An endpoint's behaviour. Every default keeps the contract.
#[tonic::async_trait]
pub trait Behaviour: Send + Sync + 'static {
    /// The dialects that are served.
    fn dialects(&self) -> &'static [Dialect] {
        &Dialect::ALL
    }

    /// Encoded descriptor sets that reflection shows; `None` serves no reflection.
    fn reflection(&self) -> Option<Vec<Vec<u8>>> {
        Some(self.dialects().iter().map(|d| d.descriptor_set().to_vec()).collect())
    }

    /// The largest message that is taken, in bytes.
    fn message_limit(&self) -> usize {
        4 << 20
    }

    /// Looks at a frame of HTTP/2 whose head has come.
    fn frame(&self, _state: &State, _arrival: Arrival) -> Fate {
        Fate::Taken
    }

    /// One whole HTTP exchange.
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        next.run(request).await
    }

    /// Decides who may call which method.
    fn authorize(&self, state: &State, method: &str, headers: &HeaderMap) -> Result<(), Status> {
        if method == "Health" { Ok(()) } else { state.authorize(headers) }
    }

    /// Every message of every method passes here before it is decoded.
    fn received(&self, _method: &str, _bytes: &Bytes) -> Result<(), Status> {
        Ok(())
    }

    /// Reads a StreamPredictRequest.
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        dialect.decode_request(bytes).map_err(|error| Status::internal(format!("failed to decode: {error}")))
    }

    /// Answers a call of Health.
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        Ok(state.health())
    }

    /// Answers a message on Control.
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        Ok(state.control(&message))
    }

    /// The requests of a call, before any is answered.
    async fn requests(&self, requests: Requests) -> Requests {
        requests
    }

    /// A call that was half-closed with no request.
    fn no_request(&self) -> Result<(), Status> {
        Err(Status::invalid_argument("the stream was half-closed without a request"))
    }

    /// Generations of one call that run at once; further requests wait for one of them to end.
    fn at_once(&self) -> usize {
        256
    }

    /// A request with the trace_id of an unfinished generation of the same call.
    fn trace_in_use(&self, trace_id: &str) -> Result<(), Status> {
        let why = format!("the generation with the trace_id {trace_id} is not finished on this stream");
        Err(Status::invalid_argument(why))
    }

    /// Whether a request may run.
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request)
    }

    /// Waits until a request that was admitted may run, or refuses it.
    async fn turn(&self, state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        state.turn(request.priority).await
    }

    /// The server is to end: takes no new work, and comes back when what runs has ended.
    async fn drain(&self, state: &State) {
        state.drain().await;
    }

    /// Whether a client without a certificate is refused, where clients are to have one.
    fn asks_for_certificates(&self) -> bool {
        true
    }

    /// The mode of a Unix socket's file.
    fn socket_mode(&self) -> u32 {
        0o660
    }

    /// Whether a socket's file that a dead server has left is replaced.
    fn replaces_stale_sockets(&self) -> bool {
        true
    }

    /// How long a client may leave its responses unread before its generation gives its place to others.
    fn reader_patience(&self) -> Duration {
        Duration::from_millis(500)
    }

    /// Whether a call ends when its deadline (grpc-timeout) passes.
    fn keeps_deadlines(&self) -> bool {
        true
    }

    /// Decides what to answer.
    fn speak(&self, request: &GenerationRequest) -> Script {
        language::speak(request)
    }

    /// The responses to one request, as they leave.
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        responses
    }

    /// Whether work stops when the client goes away.
    fn stops_on_cancel(&self) -> bool {
        true
    }
}

/// Puts any number of responses in the place of each one: what most mutants of a stream's shape do.
pub fn rewrite<F>(responses: Responses, rule: F) -> Responses
where
    F: FnMut(GenerationResponse) -> Vec<GenerationResponse> + Send + Unpin + 'static,
{
    Box::pin(Rewrite { responses, rule, ready: VecDeque::new() })
}

struct Rewrite<F> {
    responses: Responses,
    rule: F,
    ready: VecDeque<GenerationResponse>,
}

impl<F> Stream for Rewrite<F>
where
    F: FnMut(GenerationResponse) -> Vec<GenerationResponse> + Unpin,
{
    type Item = Result<GenerationResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(response)));
            }
            match ready!(self.responses.as_mut().poll_next(context)) {
                Some(Ok(response)) => {
                    let more = (self.rule)(response);
                    self.ready.extend(more);
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

/// The exemplar itself: every default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conformant;

impl Behaviour for Conformant {}
