//! Latency, from the client's side: load, records, figures, and whether B is slower than A.
//!
//! ```text
//! arrivals ─▶ load ─▶ record ─▶ metrics ─▶ report
//! prompts ─────┘                    └────▶ compare ─▶ html, with plots of both
//! ```
//!
//! What is measured and why it can be believed: `docs/guides/benchmark.md`.

pub mod arrivals;
mod client;
pub mod compare;
pub mod conditions;
mod faults;
pub mod floors;
pub mod health;
pub mod history;
pub mod hop;
pub mod host;
pub mod html;
pub mod load;
pub mod message;
pub mod metrics;
mod multiplex;
mod pacer;
mod plot;
pub mod prompts;
pub mod record;
pub mod report;
pub mod saved;
pub mod scenario;
pub mod scrape;
pub mod server;
mod turns;

pub use client::Endpoint;
