//! Figures for Prometheus, in OpenMetrics text: what was asked of the server, how fast it answered, what its engines do.
//!
//! Events are counted where they end, once for each generation and never for each token; what engines count themselves
//! is read at each scrape. Labels have few values: a model's only once its package was found, dialects, outcomes
//! and reasons are fixed lists. What a client wrote never becomes a label.

mod engines;
mod events;
mod http;
mod ledger;
mod process;

pub use engines::Engines;
pub use events::{Ended, Events, Outcome};
pub use http::{CONTENT_TYPE, Endpoint, serve};

use std::sync::Arc;

use prometheus_client::{
    encoding::text,
    metrics::{gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::registry::LoadedModel;

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Metrics of generations.
    pub events: Events,
    /// Metrics of loaded models.
    pub engines: Engines,
    inflight: Gauge,
    loaded: Gauge,
}

impl Metrics {
    /// Nothing has happened yet. `backend` is what Health says too.
    pub fn new(backend: &'static str) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let ours = registry.sub_registry_with_prefix("sidecar");
        let build = [("version", env!("CARGO_PKG_VERSION")), ("backend", backend)];
        ours.register("build", "The program that runs", Info::new(build));
        let (inflight, loaded) = (Gauge::default(), Gauge::default());
        ours.register("requests_inflight", "Generations that wait or run", inflight.clone());
        ours.register("models_loaded", "Models in memory that take requests", loaded.clone());
        let events = Events::register(ours);
        let engines = Engines::default();
        ours.register_collector(Box::new(engines.clone()));
        Self { registry, events, engines, inflight, loaded }
    }

    /// As text, with what is true now.
    pub fn render(&self, inflight: u64, loaded: &[Arc<LoadedModel>]) -> String {
        self.inflight.set(i64::try_from(inflight).unwrap_or(i64::MAX));
        self.loaded.set(i64::try_from(loaded.len()).unwrap_or(i64::MAX));
        for model in loaded {
            self.engines.observe(model);
        }
        let mut out = String::new();
        // Writing to a String cannot fail; a collector that does leaves its own figures out.
        if text::encode(&mut out, &self.registry).is_err() {
            tracing::error!("failed to write the metrics");
        }
        out
    }
}
