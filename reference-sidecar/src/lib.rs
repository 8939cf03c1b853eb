//! The reference `AiInference` server, as a library, so that tests and benches reach its parts.
//!
//! From the outside in: [`commands`] is what the command line does, [`config`] what it was told, [`service`] the gRPC
//! edge, [`engine`] the thread that generates, [`scheduler`] what it does next, [`backends`] what computes. Arrows
//! point down only: nothing in a later module of that list knows an earlier one. [`models`] and [`text`] serve all;
//! [`metrics`] and [`telemetry`] tell what all do.

pub mod backends;
pub mod commands;
pub mod config;
pub mod drain;
pub mod engine;
pub mod listen;
pub mod metrics;
pub mod models;
pub mod scheduler;
pub mod service;
pub mod telemetry;
pub mod text;
