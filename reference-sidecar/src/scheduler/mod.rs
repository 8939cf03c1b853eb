//! What the engine does next: pure decisions over (state, arrivals, limits).
//!
//! Nothing here knows a clock, a channel, a thread or a model, so every decision can be tested by listing what
//! arrived. The rules:
//!
//! 1. A free slot goes to the most urgent request that waits: lower `priority` first, then first come.
//! 2. When no slot is free and a request waits that is strictly more urgent than a sequence that runs, the least urgent
//!    one that runs goes back to the queue, to its place by arrival; of equals the latest admitted. No slot computes
//!    for one that matters less while one that matters more waits (CONCURRENCY-007).
//! 3. After [`MAX_OVERTAKES`] admissions past the one that waits longest, that one is next, and keeps its slot to its
//!    end. Nor is any sequence preempted more than [`MAX_PREEMPTIONS`] times. So a request with `older` sequences
//!    before it is admitted within `(MAX_OVERTAKES + 1) * ((MAX_PREEMPTIONS + 1) * older + 1)` admissions, and then
//!    finishes (CONCURRENCY-008).
//!    A sequence whose reader does not read gives its slot up to any other that waits, after a few steps or at once where
//!    nothing else runs, and comes back to its place by arrival when it is read. That is no preemption, and delays no other.
//! 4. While prompts wait to be read and sequences wait to be continued, they take turns: up to a budget of prompt
//!    tokens, of one prompt or several, and one decode step. So a prompt delays a running generation by one budget at
//!    most, and running generations delay a prompt by one token for each budget.
//! 5. The most urgent prompt is read first; of equally urgent ones the shortest and the oldest in turns. After
//!    [`MAX_OVERTAKES`] chunks past the one admitted first, that one gets a chunk whatever its priority.

mod plan;
mod policy;
mod queue;
mod reading;

pub use plan::{Plan, SequenceId, SlotState};
pub use policy::{Admission, Left, Limits, Scheduler};
pub use queue::{MAX_OVERTAKES, MAX_PREEMPTIONS, Queue, Ticket};
