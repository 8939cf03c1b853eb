//! Dialect ↔ internal model.
//!
//! Written once for the shape that both dialects share; the differences (number widths, the extra fields of `cy.llm`)
//! are the macro's arguments, so that a reader sees them side by side at the end of the file.

use crate::{
    Contract, ControlMessage, CyLlm, Dialect, GenerationRequest, GenerationResponse, HealthAnswer, Metadata,
    Sampling, ServerTimings, WireDialect, contract, cy_llm,
};

/// Narrowing to the wire's integer keeps the nearest value: a bound that does not fit is still a bound.
macro_rules! clamp {
    ($value:expr, $to:ty) => {
        <$to>::try_from($value.clamp(i64::from(<$to>::MIN), i64::from(<$to>::MAX))).unwrap_or_default()
    };
}

macro_rules! dialect {
    (
        $wire:ident, $marker:ident, tokens: $tokens:ty, real: $real:ty, index: $index:ty,
        metadata: [$($meta:ident),*], request: [$($extra:ident),*], timings: [$($timing:ident),*]
    ) => {
        #[allow(clippy::needless_update, reason = "`cy.llm` has every field of the model, `contract` has not")]
        impl From<$wire::StreamPredictRequest> for GenerationRequest {
            fn from(wire: $wire::StreamPredictRequest) -> Self {
                Self {
                    model_id: wire.model_id,
                    prompt: wire.prompt,
                    adapter: wire.adapter,
                    priority: wire.priority,
                    sampling: wire.generation.map(|g| Sampling {
                        max_new_tokens: i64::from(g.max_new_tokens),
                        temperature: f64::from(g.temperature),
                        top_p: f64::from(g.top_p),
                        repetition_penalty: f64::from(g.repetition_penalty),
                    }),
                    metadata: wire.metadata.map(|m| Metadata {
                        trace_id: m.trace_id,
                        $($meta: m.$meta,)*
                        ..Metadata::default()
                    }),
                    $($extra: wire.$extra,)*
                    ..Self::default()
                }
            }
        }

        impl From<GenerationRequest> for $wire::StreamPredictRequest {
            fn from(model: GenerationRequest) -> Self {
                Self {
                    model_id: model.model_id,
                    prompt: model.prompt,
                    adapter: model.adapter,
                    priority: model.priority,
                    generation: model.sampling.map(|s| $wire::GenerationParameters {
                        max_new_tokens: clamp!(s.max_new_tokens, $tokens),
                        temperature: s.temperature as $real,
                        top_p: s.top_p as $real,
                        repetition_penalty: s.repetition_penalty as $real,
                    }),
                    metadata: model.metadata.map(|m| $wire::StreamMetadata {
                        trace_id: m.trace_id,
                        $($meta: m.$meta,)*
                    }),
                    $($extra: model.$extra,)*
                }
            }
        }

        #[allow(clippy::needless_update, reason = "as above")]
        impl From<$wire::StreamPredictResponse> for GenerationResponse {
            fn from(wire: $wire::StreamPredictResponse) -> Self {
                Self {
                    trace_id: wire.trace_id,
                    chunk: wire.chunk,
                    end_of_stream: wire.end_of_stream,
                    index: i64::from(wire.index),
                    timings: ServerTimings { $($timing: wire.$timing,)* ..ServerTimings::default() },
                }
            }
        }

        impl From<GenerationResponse> for $wire::StreamPredictResponse {
            fn from(model: GenerationResponse) -> Self {
                Self {
                    trace_id: model.trace_id,
                    chunk: model.chunk,
                    end_of_stream: model.end_of_stream,
                    index: clamp!(model.index, $index),
                    $($timing: model.timings.$timing,)*
                }
            }
        }

        impl From<$wire::ControlMessage> for ControlMessage {
            fn from(wire: $wire::ControlMessage) -> Self {
                Self { trace_id: wire.trace_id, command: wire.command, payload: wire.payload }
            }
        }

        impl From<ControlMessage> for $wire::ControlMessage {
            fn from(model: ControlMessage) -> Self {
                Self { trace_id: model.trace_id, command: model.command, payload: model.payload }
            }
        }

        impl From<$wire::WorkerHealthResponse> for HealthAnswer {
            fn from(wire: $wire::WorkerHealthResponse) -> Self {
                Self { healthy: wire.healthy, metrics: wire.metrics }
            }
        }

        impl From<HealthAnswer> for $wire::WorkerHealthResponse {
            fn from(model: HealthAnswer) -> Self {
                Self { healthy: model.healthy, metrics: model.metrics }
            }
        }

        impl WireDialect for $marker {
            const DIALECT: Dialect = Dialect::$marker;
            type Request = $wire::StreamPredictRequest;
            type Response = $wire::StreamPredictResponse;
            type Control = $wire::ControlMessage;
            type Health = $wire::WorkerHealthResponse;
        }
    };
}

dialect!(
    contract, Contract,
    tokens: i32, real: f32, index: i32,
    metadata: [], request: [], timings: []
);

dialect!(
    cy_llm, CyLlm,
    tokens: u32, real: f64, index: u32,
    metadata: [tenant, player_id, locale, extra], request: [worker_hint], timings: [ttft_ms, tokens_per_sec]
);
