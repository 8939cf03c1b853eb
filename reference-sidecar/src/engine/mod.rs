//! The thread that generates: owns a backend and time, and does what the scheduler says.
//!
//! ```text
//!  service ──submit──▶ EngineHandle ──commands──▶ step loop (one OS thread, never awaits)
//!     ▲                                               │  scheduler: what next
//!     └────────── EventReader ◀──tokens, bounded──────┘  backend: compute it
//! ```
//!
//! Tokens go in and come out; text is not known here. A reader that does not take its tokens holds its own sequence
//! back and no other (CONCURRENCY-005); a reader that is dropped frees its slot within one step (CONCURRENCY-003).

mod events;
mod handle;
mod sampling;
mod sequence;
mod step_loop;

pub use events::{EventReader, Finish};
pub use handle::{EngineError, EngineHandle, EngineOptions, Gauges, Job, SubmitError};
pub use sampling::{ParameterError, Sampler, SamplingParameters};
