//! What a proxy adds to each message, measured on both sides of it by one clock.
//!
//! ```text
//! client ──────────────▶ tap      direct
//! client ──▶ proxy ────▶ tap      through
//! ```
//!
//! The program is both ends: a [`tap`] that stamps what it takes and what it sends, and a client that stamps what it
//! sends and what comes. Calls take the two ways in turns. The cost of the ends and of the machine is in both; the
//! difference is the proxy's.

mod block;
mod journey;
mod marker;
mod measure;
mod report;
mod table;
mod tap;

pub use block::{Block, Leg, Traffic};
pub use journey::{Faults, Settled};
pub use measure::{HopError, Measurement};
pub use report::{HopReport, HopSetup, Row};
pub use tap::{Clock, Tap};
