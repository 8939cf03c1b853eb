//! What all calls share.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use super::{Counters, Intake};
use crate::{backends::onnx::Provider, config::Token, models::Registry};

/// Where the server is in its life. Only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes work.
    Serving,
    /// Takes no new work; what runs may finish (TRANSPORT-003).
    Draining,
    /// The grace time is over: what still runs is ended.
    Closing,
}

/// Shared by every call on every listener.
#[derive(Debug)]
pub struct State {
    /// Models.
    pub registry: Registry,
    /// What was asked and how it ended.
    pub counters: Arc<Counters>,
    /// Prompts on their way to an engine.
    pub intake: Intake,
    /// Where in its life.
    pub phase: watch::Sender<Phase>,
    /// The token to ask for.
    pub token: Option<Token>,
    /// What computes.
    pub provider: Provider,
    /// When it began.
    pub started: Instant,
}

impl State {
    /// A server that takes work from now on.
    pub fn new(registry: Registry, token: Option<Token>, provider: Provider) -> Self {
        let phase = watch::Sender::new(Phase::Serving);
        let (counters, intake) = (Arc::default(), Intake::default());
        Self { registry, counters, intake, phase, token, provider, started: Instant::now() }
    }

    /// Where in its life it is now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}
