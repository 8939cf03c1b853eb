//! Latency, from the client's side: load, records, figures, and whether B is slower than A.
//!
//! ```text
//! arrivals ─▶ load ─▶ record ─▶ metrics ─▶ report
//! prompts ─────┘                    └────▶ compare ─▶ html, with plots of both
//! ```
//!
//! What is measured and why it can be believed: `docs/guides/benchmark.md`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod arrivals;
mod block_files;
mod client;
mod columns;
pub mod compare;
pub mod conditions;
mod ending;
mod failures;
mod faults;
mod fetch;
mod floor_file;
pub mod floors;
pub mod health;
pub mod history;
pub mod hop;
pub mod host;
pub mod html;
mod lag;
pub mod load;
pub mod message;
pub mod metrics;
mod multiplex;
mod pacer;
mod plot;
pub mod prompts;
mod punctual;
pub mod record;
pub mod report;
pub mod saved;
mod saved_files;
pub mod scenario;
pub mod scrape;
pub mod server;
mod session;
mod tail;
mod turns;
mod warm_up;

pub use block_files::{SIDES, blocks_in};
pub use client::Endpoint;
pub use ending::Ended;
pub use failures::Failure;
pub use fetch::Url;
pub use floor_file::{BadFloors, FloorFile};
pub use punctual::be_punctual;
pub use saved_files::{BadSaved, Saved};
pub use session::{Contestant, Live, Session, SessionError, Source, Stage};
pub use warm_up::warm_up;
