//! The thread that generates: owns a backend and time, and does what the scheduler says.
//!
//! ```text
//!  service ──submit──▶ EngineHandle ──commands──▶ step loop (one OS thread, never awaits)
//!     ▲                                               │  scheduler: what next
//!     └────────── EventReader ◀──tokens, bounded──────┘  backend: compute it
//! ```
//!
//! Tokens go in and come out; text is not known here. A reader that does not take its tokens holds its own sequence
//! back and no other (CONCURRENCY-005); a reader that is dropped frees its slot within one step, and its prompt's step
//! ends at once (CONCURRENCY-003). A sequence may lose its slot to a more urgent one; its reader sees a pause.

mod alarms;
mod events;
mod handle;
mod interrupts;
mod prefix;
mod sampling;
mod seats;
mod sequence;
mod step_loop;

pub use events::{EventReader, Finish};
pub use handle::{EngineError, EngineHandle, EngineOptions, Gauges, Job, StartError, SubmitError};
pub use sampling::{ParameterError, Sampler, SamplingParameters};
