//! Latency, from the client's side: load, records, figures, and whether B is slower than A.
//!
//! ```text
//! arrivals ─▶ load ─▶ record ─▶ metrics ─▶ report
//! prompts ─────┘                    └────▶ compare
//! ```
//!
//! What is measured and why it can be believed: `docs/guides/benchmark.md`.

pub mod arrivals;
mod client;
pub mod compare;
pub mod load;
pub mod message;
pub mod metrics;
mod pacer;
pub mod prompts;
pub mod record;
pub mod report;
pub mod scenario;
mod turns;

pub use client::Endpoint;
