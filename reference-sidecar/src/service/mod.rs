//! The gRPC edge: translation only.
//!
//! Both dialects are served by the same code, generic over [`WireDialect`](ai_inference_proto::WireDialect): what comes
//! in becomes the internal model, what goes out is made from it. Decides nothing about generations; talks to the
//! models' registry and, through it, to engines.

mod account;
mod admission;
mod auth;
mod calls;
mod content_type;
mod control;
mod counters;
mod deadline;
mod dialects;
mod gate;
mod generation;
mod health;
mod inbound;
mod intake;
mod linger;
mod short_error;
mod stack;
mod standard_health;
mod state;
mod status;
mod stream_predict;

pub use calls::Calls;
pub use counters::{Counted, Counters};
pub use intake::Intake;
pub use stack::{Exposed, serve};
pub use state::{Phase, State};
pub use status::Refusal;
