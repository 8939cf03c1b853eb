//! The `AiInference` service in both wire dialects, and one internal model that both convert to and from.
//!
//! Two dialects exist in the field and they are not compatible (contract, section 0). Code that serves or judges an
//! endpoint speaks [`GenerationRequest`] and [`GenerationResponse`]; only the edge knows the dialect, through the
//! [`WireDialect`] trait.

mod convert;
mod dialect;
mod model;

pub use dialect::{Contract, CyLlm, Dialect, UnknownDialect, WireDialect};
pub use model::{
    ControlMessage, GenerationRequest, GenerationResponse, HealthAnswer, Metadata, Sampling, ServerTimings,
};

/// Generated types and services of the `contract` dialect: service `AiInference`, no package.
#[allow(missing_docs, clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract/_.rs"));
}

/// Generated types and services of the `cy.llm` dialect: service `cy.llm.AiInference`.
#[allow(missing_docs, clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod cy_llm {
    include!(concat!(env!("OUT_DIR"), "/cy_llm/cy.llm.rs"));
}
