//! The account of one generation: opened when its request arrives, closed when it ends, however it ends. It feeds
//! everything that tells of it: Health's counters, the metrics, the span, and one line in the log.
//!
//! Closing happens in `drop`, so that no way out can miss it: an account that is dropped without a word is that of a
//! generation that was cancelled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ai_inference_proto::{Dialect, ServerTimings};
use tracing::{Span, field::Empty};

use super::{Counted, Refusal, State};
use crate::{
    metrics::{Ended, Outcome},
    registry::LoadedModel,
    telemetry::{self, TraceParent},
};

pub(super) struct Account {
    state: Arc<State>,
    counted: Option<Counted>,
    /// The beginning of the trace_id.
    trace_id: String,
    parent_trace_id: Option<String>,
    dialect: Dialect,
    priority: i32,
    span: Span,
    arrived: Instant,
    model: Option<Arc<LoadedModel>>,
    prompt_tokens: Option<usize>,
    tokens: u32,
    first: Option<Instant>,
    last: Option<Instant>,
    outcome: Outcome,
    reason: Option<&'static str>,
}

impl Account {
    pub(super) fn open(
        state: &Arc<State>,
        trace_id: &str,
        dialect: Dialect,
        priority: i32,
        parent: Option<&TraceParent>,
    ) -> Self {
        let trace_id: String = trace_id.chars().take(LONGEST_TRACE_ID).collect();
        let parent_trace_id = parent.map(ToString::to_string);
        let span = tracing::info_span!(
            "generation",
            trace_id,
            parent_trace_id,
            dialect = dialect.name(),
            priority,
            model = Empty,
            prompt_tokens = Empty,
            generated_tokens = Empty,
            outcome = Empty,
            reason = Empty,
            ttft_ms = Empty,
        );
        if let Some(parent) = parent {
            telemetry::adopt(&span, parent);
        }
        Self {
            state: Arc::clone(state),
            counted: Some(state.counters.arrive()),
            trace_id,
            parent_trace_id,
            dialect,
            priority,
            span,
            arrived: Instant::now(),
            model: None,
            prompt_tokens: None,
            tokens: 0,
            first: None,
            last: None,
            outcome: Outcome::Cancelled,
            reason: None,
        }
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(super) fn admitted(&mut self, model: Option<Arc<LoadedModel>>, prompt_tokens: Option<usize>) {
        (self.model, self.prompt_tokens) = (model, prompt_tokens);
    }

    /// One more. On the hot path: it reads a clock and nothing else.
    pub(super) fn token(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.tokens += 1;
    }

    /// It is at its last message, which carries these figures.
    pub(super) fn succeed(mut self) -> ServerTimings {
        self.outcome = Outcome::Ok;
        self.timings()
    }

    pub(super) fn fail(mut self, refusal: &Refusal) {
        (self.outcome, self.reason) = (refusal.outcome(), Some(refusal.reason()));
    }

    /// Measured from the request's arrival, so that a client's own clock can never show less time (STREAM-015).
    fn timings(&self) -> ServerTimings {
        let seconds = self.since_arrival(self.last).map(|time| time.as_secs_f32());
        let rate = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| self.tokens as f32 / seconds);
        let first = self.since_arrival(self.first).unwrap_or_default();
        ServerTimings { ttft_ms: first.as_secs_f32() * 1000.0, tokens_per_sec: rate.unwrap_or_default() }
    }

    fn since_arrival(&self, end: Option<Instant>) -> Option<Duration> {
        end.map(|end| end.duration_since(self.arrived))
    }

    fn count(&self, total: Duration) {
        let metrics = &self.state.metrics;
        metrics.events.ended(&Ended {
            model: self.model.as_ref().map_or("", |model| &model.id),
            dialect: self.dialect,
            outcome: self.outcome,
            prompt_tokens: self.prompt_tokens.unwrap_or_default() as u64,
            tokens: self.tokens,
            first: self.since_arrival(self.first),
            rest: self.first.zip(self.last).map(|(first, last)| last.duration_since(first)),
            total,
        });
        if let Some(reason) = self.reason {
            metrics.events.refused(reason);
        }
        if let Some(model) = &self.model {
            metrics.engines.observe(model);
        }
    }

    fn tell(&self, total: Duration) {
        let milliseconds = |time: Duration| time.as_micros() as f64 / 1000.0;
        let model = self.model.as_ref().map(|model| model.id.as_str());
        let ttft_ms = self.since_arrival(self.first).map(milliseconds);
        self.span.record("model", model);
        self.span.record("prompt_tokens", self.prompt_tokens);
        self.span.record("generated_tokens", self.tokens);
        self.span.record("outcome", self.outcome.name());
        self.span.record("reason", self.reason);
        self.span.record("ttft_ms", ttft_ms);
        // Outside the span, whose fields it would only repeat.
        tracing::info!(
            target: "reference_sidecar::access",
            parent: None,
            trace_id = self.trace_id,
            parent_trace_id = self.parent_trace_id,
            model,
            dialect = self.dialect.name(),
            priority = self.priority,
            prompt_tokens = self.prompt_tokens,
            generated_tokens = self.tokens,
            outcome = self.outcome.name(),
            reason = self.reason,
            ttft_ms,
            duration_ms = milliseconds(total),
            "generation"
        );
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let total = self.arrived.elapsed();
        self.count(total);
        self.tell(total);
        // Last: who sees it no longer in flight sees everything else.
        match (self.counted.take(), self.outcome) {
            (Some(counted), Outcome::Ok) => counted.succeed(),
            (Some(counted), Outcome::Refused | Outcome::Failed) => counted.fail(),
            (_, Outcome::Cancelled) | (None, _) => {}
        }
    }
}

/// Characters of a client's trace id in logs and spans; in its responses it is whole.
const LONGEST_TRACE_ID: usize = 64;
