//! Watches the calls that are open: those whose responses are not read, and those that ask for nothing.
//!
//! The transport polls a call when there is room for a response. So while a client reads nothing, neither the call's
//! deadline nor the server's end would reach it, and what it holds would stay held. Someone else must look at the clock.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, interval};

use super::{Phase, State};

/// A call as the watch sees it.
pub(super) trait Watched: Send + Sync {
    /// Ends the call if its time is over.
    fn look(&self, now: Instant, phase: Phase, patience: Duration);
}

/// The open calls.
#[derive(Default)]
pub struct Calls {
    open: Mutex<HashMap<u64, Weak<dyn Watched>>>,
    next: AtomicU64,
}

/// A call's place; given up when dropped.
pub(super) struct Open {
    state: Arc<State>,
    number: u64,
}

impl Calls {
    /// Room for one more; `None` where there are as many as the server keeps.
    pub(super) fn open(state: &Arc<State>, call: Weak<dyn Watched>) -> Option<Open> {
        let mut open = state.calls.lock();
        if open.len() >= MOST_CALLS {
            return None;
        }
        let number = state.calls.next.fetch_add(1, Ordering::Relaxed);
        open.insert(number, call);
        Some(Open { state: Arc::clone(state), number })
    }

    /// Looks at every call now and then, for as long as the server lives.
    pub async fn watch(state: Arc<State>) {
        let mut ticks = interval(PERIOD);
        loop {
            ticks.tick().await;
            let open: Vec<_> = state.calls.lock().values().filter_map(Weak::upgrade).collect();
            let (now, phase) = (Instant::now(), state.phase());
            for call in open {
                call.look(now, phase, state.reader_patience);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<dyn Watched>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Calls({})", self.lock().len())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state.calls.lock().remove(&self.number);
    }
}

/// Between two looks: what a deadline may be late by for a client that reads nothing.
const PERIOD: Duration = Duration::from_millis(200);
/// StreamPredict calls at once, over all connections. An open call holds some ten KiB before it has asked for anything.
const MOST_CALLS: usize = 16_384;
