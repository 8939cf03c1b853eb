//! One generation as its responses: a stream from the first chunk to the last message.
//!
//! Polled by its call and dropped with it; dropping it at any point cancels what runs.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use ai_inference_proto::{GenerationRequest, GenerationResponse, ServerTimings};
use futures_core::Stream;
use uuid::Uuid;

use super::{Counted, Refusal, State, admission::admit};
use crate::{
    engine::EventReader,
    models::LoadedModel,
    text::{Incremental, Tokenizer},
};

/// ```text
/// Starting ──admitted──▶ Running ──last token──▶ Over
///     └────────refused───────┴──────failed───────▲
/// ```
pub(super) struct Generation {
    trace_id: String,
    arrived: Instant,
    index: i64,
    counted: Option<Counted>,
    stage: Stage,
}

enum Stage {
    Starting(Pin<Box<dyn Future<Output = Result<Running, Refusal>> + Send>>),
    Running(Running),
    Over,
}

struct Running {
    reader: EventReader,
    text: Incremental<Tokenizer>,
    tokens: u32,
    first: Option<Instant>,
    last: Option<Instant>,
    /// Keeps an unloaded model alive until this has ended (CONTROL-008).
    _model: Arc<LoadedModel>,
}

impl Generation {
    /// Starts when first polled. An empty trace id is replaced by a fresh one (STREAM-010).
    pub(super) fn new(state: &Arc<State>, mut request: GenerationRequest) -> Self {
        let arrived = Instant::now();
        let counted = Some(state.counters.arrive());
        let metadata = request.metadata.take().unwrap_or_default();
        let trace_id = match metadata.trace_id {
            empty if empty.is_empty() => Uuid::new_v4().to_string(),
            given => given,
        };
        // Now, not when it is first polled: it takes its room from now on.
        let held = state.intake.hold(&request);
        let admitted = admit(Arc::clone(state), request, held);
        let starting = Box::pin(async { admitted.await.map(Running::new) });
        Self { trace_id, arrived, index: 0, counted, stage: Stage::Starting(starting) }
    }

    pub(super) fn trace_id(&self) -> &str {
        &self.trace_id
    }

    fn respond(&mut self, chunk: String) -> GenerationResponse {
        let index = self.index;
        self.index += 1;
        let (trace_id, timings) = (self.trace_id.clone(), ServerTimings::default());
        GenerationResponse { trace_id, chunk, end_of_stream: false, index, timings }
    }

    fn finish(&mut self, running: Running) -> Result<GenerationResponse, Refusal> {
        if let Err(error) = running.reader.outcome() {
            return Err(self.fail(error.into()));
        }
        if let Some(counted) = self.counted.take() {
            counted.succeed();
        }
        let timings = running.timings(self.arrived);
        let rest = running.text.finish();
        Ok(GenerationResponse { end_of_stream: true, timings, ..self.respond(rest) })
    }

    fn fail(&mut self, refusal: Refusal) -> Refusal {
        if let Some(counted) = self.counted.take() {
            counted.fail();
        }
        refusal
    }
}

impl Stream for Generation {
    type Item = Result<GenerationResponse, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.stage {
                Stage::Starting(starting) => match ready!(starting.as_mut().poll(context)) {
                    Ok(running) => self.stage = Stage::Running(running),
                    Err(refusal) => {
                        self.stage = Stage::Over;
                        return Poll::Ready(Some(Err(self.fail(refusal))));
                    }
                },
                Stage::Running(running) => match ready!(running.reader.poll_next(context)) {
                    Some(token) => {
                        let chunk = running.take(token);
                        if !chunk.is_empty() {
                            return Poll::Ready(Some(Ok(self.respond(chunk))));
                        }
                    }
                    None => {
                        if let Stage::Running(running) = std::mem::replace(&mut self.stage, Stage::Over) {
                            return Poll::Ready(Some(self.finish(running)));
                        }
                    }
                },
                Stage::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Running {
    fn new((model, reader): (Arc<LoadedModel>, EventReader)) -> Self {
        let text = Incremental::new(model.tokenizer.clone());
        Self { reader, text, tokens: 0, first: None, last: None, _model: model }
    }

    fn take(&mut self, token: u32) -> String {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.tokens += 1;
        self.text.push(token)
    }

    /// Measured from the request's arrival, so that a client's own clock can never show less time (STREAM-015).
    fn timings(&self, arrived: Instant) -> ServerTimings {
        let since = |end: Option<Instant>| end.map(|end| end.duration_since(arrived).as_secs_f32());
        let rate = since(self.last).filter(|seconds| *seconds > 0.0).map(|s| self.tokens as f32 / s);
        ServerTimings {
            ttft_ms: since(self.first).unwrap_or_default() * 1000.0,
            tokens_per_sec: rate.unwrap_or_default(),
        }
    }
}
