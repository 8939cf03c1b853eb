//! How many generations were asked for, and how each ended (HEALTH-009).
//!
//! A generation is counted by a guard from its arrival to its end, so that no way out can miss it: one that is dropped
//! without a word was cancelled.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Since the start.
#[derive(Debug, Default)]
pub struct Counters {
    inflight: AtomicU64,
    success: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
}

impl Counters {
    /// Counts a generation in.
    pub fn arrive(self: &Arc<Self>) -> Counted {
        self.inflight.fetch_add(1, Ordering::Relaxed);
        Counted { counters: Arc::clone(self), ended: false }
    }

    /// Generations that wait or run.
    pub fn inflight(&self) -> u64 {
        self.inflight.load(Ordering::Relaxed)
    }

    /// All counters by name, as Health shows them.
    pub fn all(&self) -> [(&'static str, u64); 4] {
        [
            ("requests_inflight", self.inflight()),
            ("requests_success", self.success.load(Ordering::Relaxed)),
            ("requests_failed", self.failed.load(Ordering::Relaxed)),
            ("requests_cancelled", self.cancelled.load(Ordering::Relaxed)),
        ]
    }
}

/// One generation, counted as in flight while it lives.
#[derive(Debug)]
pub struct Counted {
    counters: Arc<Counters>,
    ended: bool,
}

impl Counted {
    /// It reached its last message.
    pub fn succeed(mut self) {
        self.end(|counters| &counters.success);
    }

    /// It was refused or failed.
    pub fn fail(mut self) {
        self.end(|counters| &counters.failed);
    }

    fn end(&mut self, outcome: impl FnOnce(&Counters) -> &AtomicU64) {
        self.ended = true;
        outcome(&self.counters).fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.ended {
            self.end(|counters| &counters.cancelled);
        }
        self.counters.inflight.fetch_sub(1, Ordering::Relaxed);
    }
}
