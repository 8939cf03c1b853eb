//! What the exemplar remembers, and its right answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::{
    ControlMessage, GenerationRequest, GenerationResponse, HealthAnswer, ServerTimings,
};
use futures_timer::Delay;
use http::HeaderMap;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    behaviour::{Behaviour, Responses, Turn},
    language,
    slots::Slots,
};

/// The one model that the exemplar serves.
pub const MODEL: &str = "exemplar";
/// Characters (contract, ERROR-003).
const PROMPT_LIMIT: usize = 50_000;
/// For what runs, when the server is to end.
const GRACE: Duration = Duration::from_secs(8);
/// Between two looks whether anything runs.
const LOOK: Duration = Duration::from_millis(5);
/// For the transport to send what was handed to it last, and for clients to learn that the server goes.
const LINGER: Duration = Duration::from_millis(200);
/// Responses waiting for a slow reader; then the generation pauses.
const CHANNEL: usize = 8;

/// Counters and configuration of one running exemplar.
#[derive(Debug, Default)]
pub struct State {
    token: Option<String>,
    counters: Arc<Counters>,
    slots: Slots,
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Counters {
    inflight: AtomicU64,
    success: AtomicU64,
    failed: AtomicU64,
}

impl State {
    pub(super) fn new(token: Option<String>) -> Self {
        Self { token, ..Self::default() }
    }

    /// Takes no new work from now on, and waits until what runs has ended, for the grace time at most.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + GRACE;
        while self.inflight() > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(LINGER).await;
    }

    /// Whether the server is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// How many generations run right now.
    pub fn inflight(&self) -> u64 {
        self.counters.inflight.load(Ordering::Relaxed)
    }

    /// The right answer of Health.
    pub fn health(&self) -> HealthAnswer {
        let counter = |c: &AtomicU64| c.load(Ordering::Relaxed).to_string();
        let metrics = [
            ("backend", "exemplar".to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("requests_inflight", counter(&self.counters.inflight)),
            ("requests_success", counter(&self.counters.success)),
            ("requests_failed", counter(&self.counters.failed)),
        ];
        HealthAnswer {
            healthy: !self.is_draining(),
            metrics: metrics.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        }
    }

    /// The right answer of Control.
    pub fn control(&self, message: &ControlMessage) -> ControlMessage {
        let model = message.payload.get("model_id").map(String::as_str);
        let answer: Vec<(&str, String)> = match (message.command.as_str(), model) {
            ("ping", _) => vec![("status", "ok".into()), ("message", "pong".into())],
            ("list_models", _) => vec![("status", "ok".into()), ("models", MODEL.into())],
            ("load_model" | "unload_model", Some(MODEL)) => vec![("status", "ok".into())],
            ("load_model" | "unload_model", Some(other)) => {
                vec![("status", "error".into()), ("message", format!("unknown model: {other}"))]
            }
            ("load_model" | "unload_model", None) => {
                vec![("status", "error".into()), ("message", "model_id is missing".into())]
            }
            (other, _) => vec![("status", "error".into()), ("message", format!("unknown command: {other}"))],
        };
        ControlMessage {
            trace_id: fresh_unless_given(&message.trace_id),
            command: format!("{}_response", message.command),
            payload: answer.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<BTreeMap<_, _>>(),
        }
    }

    /// The token that StreamPredict and Control ask for.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The bearer token, compared whole, in the only value of `authorization`.
    pub fn authorize(&self, headers: &HeaderMap) -> Result<(), Status> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut given = headers.get_all("authorization").iter().filter_map(|v| v.to_str().ok());
        let first = given.next().and_then(|v| v.strip_prefix("Bearer "));
        if first == Some(token) && given.next().is_none() {
            return Ok(());
        }
        Err(Status::unauthenticated("a bearer token is needed"))
    }

    /// Whether a request may run.
    pub fn admit(&self, request: &GenerationRequest) -> Result<(), Status> {
        let refuse = |status: Status| {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
            Err(status)
        };
        if self.is_draining() {
            return refuse(Status::unavailable("the server is going away"));
        }
        if !matches!(request.model_id.as_str(), "" | MODEL) {
            return refuse(Status::not_found(format!("model not found: {}", request.model_id)));
        }
        if request.prompt.chars().count() > PROMPT_LIMIT {
            return refuse(Status::invalid_argument("the prompt is longer than 50000 characters"));
        }
        if language::tokens(&request.prompt) >= language::CONTEXT {
            return refuse(Status::invalid_argument("the prompt is longer than the context of the model"));
        }
        if !request.adapter.is_empty() {
            return refuse(Status::not_found("adapter not found"));
        }
        let s = request.sampling.unwrap_or_default();
        if s.max_new_tokens < 0 {
            return refuse(Status::invalid_argument("max_new_tokens is negative"));
        }
        let illegal = |x: f64| !x.is_finite() || x < 0.0;
        if illegal(s.temperature) || illegal(s.top_p) || illegal(s.repetition_penalty) || s.top_p > 1.0 {
            return refuse(Status::invalid_argument("a sampling parameter is out of its range"));
        }
        Ok(())
    }

    /// Waits for a place among the generations that run.
    pub(super) async fn turn(&self, priority: i32) -> Result<Turn, Status> {
        Ok(Box::new(self.slots.turn(priority).await?))
    }

    /// Runs what the behaviour speaks: paced, in order, counted, and paused by a slow reader.
    pub(super) fn generate(
        state: &Arc<Self>,
        behaviour: &Arc<dyn Behaviour>,
        request: &GenerationRequest,
        turn: Turn,
    ) -> Responses {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let script = behaviour.speak(request);
        let trace_id = fresh_unless_given(request.trace_id());
        let guard = Inflight::new(&state.counters);
        let stops_on_cancel = behaviour.stops_on_cancel();
        let mut place = Place {
            turn: Some(turn),
            state: Arc::clone(state),
            behaviour: Arc::clone(behaviour),
            request: request.clone(),
        };
        let began = Instant::now();
        tokio::spawn(async move {
            let mut due = began + script.first_after;
            let count = script.tokens.len() as i64;
            let mut ttft_ms = 0.0;
            for (index, chunk) in (0..).zip(script.tokens) {
                wait_until(due).await;
                due += script.gap;
                if index == 0 {
                    ttft_ms = began.elapsed().as_secs_f32() * 1e3;
                }
                let (trace_id, timings) = (trace_id.clone(), ServerTimings::default());
                let response = GenerationResponse { trace_id, chunk, end_of_stream: false, index, timings };
                if !place.send(&sender, response).await && stops_on_cancel {
                    return;
                }
            }
            let timings = ServerTimings {
                ttft_ms,
                tokens_per_sec: count as f32 / began.elapsed().as_secs_f32().max(1e-3),
            };
            let last = GenerationResponse {
                trace_id,
                chunk: String::new(),
                end_of_stream: true,
                index: count,
                timings,
            };
            if place.send(&sender, last).await {
                guard.succeeded();
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

/// A generation's place among those that run, until the work ends. It is given up while the client does not read.
struct Place {
    turn: Option<Turn>,
    state: Arc<State>,
    behaviour: Arc<dyn Behaviour>,
    request: GenerationRequest,
}

impl Place {
    /// Sends a response when there is room for it; false when the client has gone, or no place could be had again.
    async fn send(
        &mut self,
        sender: &mpsc::Sender<Result<GenerationResponse, Status>>,
        response: GenerationResponse,
    ) -> bool {
        let Ok(reserved) = timeout(self.behaviour.reader_patience(), sender.reserve()).await else {
            self.turn = None;
            let Ok(room) = sender.reserve().await else { return false };
            let turn = tokio::select! {
                turn = self.behaviour.turn(&self.state, &self.request) => turn,
                () = sender.closed() => return false,
            };
            return match turn {
                Ok(turn) => {
                    self.turn = Some(turn);
                    room.send(Ok(response));
                    true
                }
                Err(status) => {
                    room.send(Err(status));
                    false
                }
            };
        };
        reserved.map(|room| room.send(Ok(response))).is_ok()
    }
}

/// Not by tokio's timer: that one counts in milliseconds, and a benchmark is to find the pace that was asked for.
async fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        Delay::new(left).await;
    }
}

/// Counts a generation while it runs, however it ends.
struct Inflight(Arc<Counters>);

impl Inflight {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.inflight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }

    fn succeeded(&self) {
        self.0.success.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn fresh_unless_given(trace_id: &str) -> String {
    if trace_id.is_empty() { uuid::Uuid::new_v4().to_string() } else { trace_id.to_owned() }
}
