//! The reference `AiInference` server, as a library, so that tests and benches reach its parts.
//!
//! From the outside in: [`commands`] is what the command line does, [`config`] what it was told, [`service`] the gRPC
//! edge, [`registry`] which models run, [`engine`] the thread that generates, [`scheduler`] what it does next, [`adapters`]
//! where adapters are found, [`backends`] what computes, [`package`] what a model directory holds. Arrows point down only:
//! nothing in a later module of that list knows an earlier one. [`text`], [`paths`] and [`memory`] serve all; [`metrics`] and
//! [`telemetry`] tell what all do.

pub mod adapters;
pub mod backends;
pub mod commands;
pub mod config;
pub mod drain;
pub mod engine;
pub mod listen;
pub mod memory;
pub mod metrics;
pub mod package;
pub mod paths;
pub mod registry;
pub mod scheduler;
pub mod service;
pub mod telemetry;
pub mod text;
