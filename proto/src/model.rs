//! The internal model: what a request and a response mean, whatever the wire says.
//!
//! Numbers take the wider of the two dialects' types, so that nothing is lost on the way in. Narrowing happens in
//! `convert.rs`, on the way out.

use std::collections::BTreeMap;

/// One `StreamPredictRequest`: a generation to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationRequest {
    /// Model identifier; empty asks for the server's default model.
    pub model_id: String,
    /// Plain text; special-token text in it is text (ERROR-007).
    pub prompt: String,
    /// `LoRA` adapter relative to the adapter root; empty is none.
    pub adapter: String,
    /// Lower runs first (CONCURRENCY-007).
    pub priority: i32,
    /// `None` when the request has no `generation` message (SAMPLING-001).
    pub sampling: Option<Sampling>,
    /// `None` when the request has no `metadata` message.
    pub metadata: Option<Metadata>,
    /// Only in `cy.llm`; dropped when written in `contract`.
    pub worker_hint: String,
}

impl GenerationRequest {
    /// The request's trace id, empty when it has none (STREAM-010).
    pub fn trace_id(&self) -> &str {
        self.metadata.as_ref().map_or("", |m| &m.trace_id)
    }
}

/// `GenerationParameters`. Zero is unset: the documented default applies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Tokens; `i64` holds both `int32` and `uint32`. Default 256.
    pub max_new_tokens: i64,
    /// Sampling temperature; the default is 0.7.
    pub temperature: f64,
    /// Share of probability to draw from; the default is 0.9.
    pub top_p: f64,
    /// Above 1, tokens seen before become less likely; the default is 1.0.
    pub repetition_penalty: f64,
}

/// `StreamMetadata`. The `contract` dialect has only the trace id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Echoed byte for byte on every response (STREAM-003).
    pub trace_id: String,
    /// Only in `cy.llm`.
    pub tenant: String,
    /// Only in `cy.llm`.
    pub player_id: String,
    /// Only in `cy.llm`.
    pub locale: String,
    /// Only in `cy.llm`.
    pub extra: BTreeMap<String, String>,
}

/// One `StreamPredictResponse`: a piece of a generation's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationResponse {
    /// The request's trace id.
    pub trace_id: String,
    /// Text; never a part of a character.
    pub chunk: String,
    /// True on the last message of the generation, and only there.
    pub end_of_stream: bool,
    /// 0, 1, 2, … within the generation; `i64` holds both `int32` and `uint32`.
    pub index: i64,
    /// What the server says of its own speed; only `cy.llm` carries it.
    pub timings: ServerTimings,
}

/// The server's own figures, reliable on the last message only (STREAM-015).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerTimings {
    /// Milliseconds from request to first token.
    pub ttft_ms: f32,
    /// Generated tokens per second.
    pub tokens_per_sec: f32,
}

/// A command or its answer; the same in both dialects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlMessage {
    /// Echoed in the answer (CONTROL-001).
    pub trace_id: String,
    /// `ping`, `list_models`, …; `<name>_response` in an answer.
    pub command: String,
    /// Arguments, or `status` and results.
    pub payload: BTreeMap<String, String>,
}

/// The answer of Health; the same in both dialects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthAnswer {
    /// Ready to serve.
    pub healthy: bool,
    /// The metrics of the server; at least `backend` and `version`.
    pub metrics: BTreeMap<String, String>,
}
