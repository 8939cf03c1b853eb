//! What the engine does next: pure decisions over (state, arrivals, limits).
//!
//! Nothing here knows a clock, a channel, a thread or a model, so every decision can be tested by listing what
//! arrived. Three rules:
//!
//! 1. A free slot goes to the most urgent request that waits (lower `priority` first, then first come); the lowest
//!    free slot first, because a decode step computes every slot up to the highest busy one.
//! 2. After [`queue::MAX_OVERTAKES`] admissions past the one that waits longest, that one is next (CONCURRENCY-008).
//! 3. While prompts wait to be read and sequences wait to be continued, the two kinds of step take turns, so that a
//!    long prompt delays running generations by one chunk, and running generations delay a prompt by one token.

mod plan;
mod policy;
mod queue;

pub use plan::{Plan, SequenceId, SlotState};
pub use policy::{Limits, Scheduler};
pub use queue::{MAX_OVERTAKES, Queue};
