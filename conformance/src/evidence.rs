//! Evidence: what was sent and what came back, as reports show it.
//!
//! The lowest floor: imports nothing of this crate.

use serde::{Deserialize, Serialize};

pub use wire::{hex, quote};

/// One thing that went over the wire, or that the suite did to the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Milliseconds since the check began.
    pub at_ms: f64,
    /// Which call of the check, from 1; 0 is the connection.
    pub call: u32,
    /// Whether the suite or the target did it.
    pub direction: Direction,
    /// What, in one line; secrets are redacted and long text is cut.
    pub what: String,
}

/// Whether the suite or the target did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The suite, towards the target.
    Sent,
    /// The target, towards the suite.
    Received,
}
