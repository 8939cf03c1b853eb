//! The exemplar: the smallest endpoint that keeps the contract, and the frame in which mutants break it.
//!
//! No model, no GPU: a scripted [`language`] speaks. What the exemplar does is the [`Behaviour`] trait's default
//! methods; a mutant overrides one of them. Everything else here is plumbing: [`service`] turns HTTP/2 requests into
//! calls of the behaviour, [`server`] listens. [`trivial`] holds servers that do almost nothing, for the suite's floor.
//!
//! Knows neither the probe, the runner nor the reports: the judged and the judge share no code but the proto crate and the
//! type of an address.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod behaviour;
mod codec;
mod frames;
mod language;
mod paced;
mod server;
mod service;
mod slots;
mod socket;
mod state;
mod tls;
pub mod trivial;

pub use behaviour::{
    Behaviour, Conformant, HttpRequest, HttpResponse, Next, Requests, Responses, Turn, rewrite,
};
pub use frames::{Arrival, Fate};
pub use language::Script;
pub use paced::{Pace, Paced};
pub use server::{Running, serve, serve_with_tls};
pub use service::{read_whole, without_trailers};
pub use state::{MODEL, State};
pub use tls::Tls;
