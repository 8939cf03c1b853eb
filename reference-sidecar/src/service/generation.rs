//! One generation as its responses: a stream from the first chunk to the last message.
//!
//! Polled by its call and dropped with it; dropping it at any point cancels what runs.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ai_inference_proto::{Dialect, GenerationRequest, GenerationResponse};
use futures_core::Stream;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Refusal, State,
    account::Account,
    admission::{Admission, admit},
};
use crate::{
    engine::EventReader,
    registry::LoadedModel,
    telemetry::TraceParent,
    text::{Incremental, Tokenizer},
};

/// ```text
/// Starting ──admitted──▶ Running ──last token──▶ Over
///     └────────refused───────┴──────failed───────▲
/// ```
pub(super) struct Generation {
    trace_id: String,
    index: i64,
    /// `None` once it has ended: it is counted before its caller can know.
    account: Option<Account>,
    stage: Stage,
}

enum Stage {
    Starting(Pin<Box<dyn Future<Output = Admitted> + Send>>),
    Running(Running),
    Over,
}

type Admitted = (Admission, Result<EventReader, Refusal>);

struct Running {
    reader: EventReader,
    text: Incremental<Tokenizer>,
    /// Keeps an unloaded model alive until this has ended (CONTROL-008).
    _model: Arc<LoadedModel>,
}

impl Generation {
    /// Starts when first polled. An empty trace id is replaced by a fresh one (STREAM-010).
    pub(super) fn new(
        state: &Arc<State>,
        mut request: GenerationRequest,
        dialect: Dialect,
        parent: Option<&TraceParent>,
    ) -> Self {
        let metadata = request.metadata.take().unwrap_or_default();
        // Nothing reads it, and it would be kept for as long as the request waits.
        request.worker_hint = String::new();
        let trace_id = match metadata.trace_id {
            empty if empty.is_empty() => Uuid::new_v4().to_string(),
            given => given,
        };
        let account = Account::open(state, &trace_id, dialect, request.priority, parent);
        // Now, not when it is first polled: it takes its room from now on.
        let held = state.intake.hold(&request);
        // Entered while it is admitted, so that a load says in the log for whom it was.
        let admitted = admit(Arc::clone(state), request, held).instrument(account.span());
        Self { trace_id, index: 0, account: Some(account), stage: Stage::Starting(Box::pin(admitted)) }
    }

    pub(super) fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// Ends it before it began.
    pub(super) fn refuse(mut self, refusal: Refusal) -> Refusal {
        self.fail(refusal)
    }

    fn respond(&mut self, chunk: String) -> GenerationResponse {
        let index = self.index;
        self.index += 1;
        let trace_id = self.trace_id.clone();
        GenerationResponse { trace_id, chunk, end_of_stream: false, index, ..GenerationResponse::default() }
    }

    fn started(&mut self, (admission, outcome): Admitted) -> Result<(), Refusal> {
        let (model, prompt_tokens) = (admission.model, admission.prompt_tokens);
        if let Some(account) = &mut self.account {
            account.admitted(model.clone(), prompt_tokens);
        }
        let reader = outcome.map_err(|refusal| self.fail(refusal))?;
        // Nothing can be started without a model.
        let model = model.ok_or(Refusal::Internal).map_err(|refusal| self.fail(refusal))?;
        let text = Incremental::new(model.tokenizer.clone());
        self.stage = Stage::Running(Running { reader, text, _model: model });
        Ok(())
    }

    fn finish(&mut self, running: Running) -> Result<GenerationResponse, Refusal> {
        if let Err(error) = running.reader.outcome() {
            return Err(self.fail(error.into()));
        }
        let timings = self.account.take().map(Account::succeed).unwrap_or_default();
        let rest = running.text.finish();
        Ok(GenerationResponse { end_of_stream: true, timings, ..self.respond(rest) })
    }

    fn fail(&mut self, refusal: Refusal) -> Refusal {
        self.stage = Stage::Over;
        if let Some(account) = self.account.take() {
            account.fail(&refusal);
        }
        refusal
    }
}

impl Stream for Generation {
    type Item = Result<GenerationResponse, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.stage {
                Stage::Starting(starting) => {
                    let admitted = ready!(starting.as_mut().poll(context));
                    if let Err(refusal) = self.started(admitted) {
                        return Poll::Ready(Some(Err(refusal)));
                    }
                }
                Stage::Running(running) => match ready!(running.reader.poll_next(context)) {
                    Some(token) => {
                        let chunk = running.text.push(token);
                        if let Some(account) = &mut self.account {
                            account.token();
                        }
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
