//! What all calls share.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Calls, Counters, Intake};
use crate::{
    adapters::Adapters,
    backends::onnx::Provider,
    config::Token,
    metrics::{Endpoint, Metrics},
    registry::Registry,
};

/// Where the server is in its life. Only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes new work.
    Serving,
    /// Takes no new work; what runs may finish (TRANSPORT-003).
    Draining,
    /// The grace time is over: what still runs is ended.
    Closing,
}

/// Shared by every call on every listener.
#[derive(Debug)]
pub struct State {
    /// The models that can be served.
    pub registry: Registry,
    /// The adapters that can be used.
    pub adapters: Adapters,
    /// What was asked and how it ended.
    pub counters: Arc<Counters>,
    /// What operators see of it.
    pub metrics: Metrics,
    /// Prompts on their way to an engine.
    pub intake: Intake,
    /// Calls that are open.
    pub calls: Calls,
    /// How long a client may leave a response unread.
    pub reader_patience: Duration,
    /// The phase of the server's life.
    pub phase: watch::Sender<Phase>,
    ready: OnceLock<()>,
    /// The token to ask for.
    pub token: Option<Token>,
    /// The execution provider that computes.
    pub provider: Provider,
    /// When the server began.
    pub started: Instant,
}

impl State {
    /// A server that takes work from now on.
    pub fn new(
        registry: Registry,
        adapters: Adapters,
        token: Option<Token>,
        provider: Provider,
        reader_patience: Duration,
    ) -> Self {
        let phase = watch::Sender::new(Phase::Serving);
        let (metrics, ready) = (Metrics::new(provider.backend_name()), OnceLock::new());
        let started = Instant::now();
        let (counters, intake) = (Arc::default(), Intake::default());
        let calls = Calls::default();
        Self {
            registry,
            adapters,
            counters,
            metrics,
            intake,
            calls,
            reader_patience,
            phase,
            ready,
            token,
            provider,
            started,
        }
    }

    /// The default model is loaded: those who ask before they send requests may send them.
    pub fn set_ready(&self) {
        let _ = self.ready.set(());
    }

    /// Where in its life it is now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}

impl Endpoint for State {
    fn metrics(&self) -> String {
        self.metrics.render(self.counters.inflight(), &self.registry.loaded())
    }

    fn ready(&self) -> bool {
        self.ready.get().is_some() && self.phase() == Phase::Serving
    }
}
