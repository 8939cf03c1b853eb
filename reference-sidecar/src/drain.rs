//! The end of a server's life (TRANSPORT-003).
//!
//! ```text
//! Serving ──signal──▶ Draining ──all finished──▶ stopped
//!                        └──grace over──▶ Closing ──cut──▶ stopped
//! ```
//!
//! While it drains the server still answers: that it takes no new work, to those who ask and to those who try.
//! A second signal ends the process after the step that the models are in.

use std::{process, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    listen::remove_socket_files,
    service::{Exposed, Phase, State},
};

/// The two signals that mean the end.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Waits for a signal and drains; when it returns, nothing runs and the listeners may close.
pub async fn drain(mut signals: Signals, state: Arc<State>, exposed: Exposed, grace: Duration) {
    signals.recv().await;
    tracing::info!(running = state.counters.inflight(), grace = ?grace, "draining");
    state.phase.send_replace(Phase::Draining);
    exposed.set_not_serving().await;
    let stopped = Arc::clone(&state);
    tokio::spawn(async move {
        signals.recv().await;
        tracing::warn!("second signal: ending at once");
        stopped.registry.stop(LAST_STEP);
        remove_socket_files();
        process::exit(130);
    });
    if timeout(grace, idle(&state)).await.is_err() {
        tracing::warn!(running = state.counters.inflight(), "grace time is over");
        state.phase.send_replace(Phase::Closing);
        let _ = timeout(CUT, idle(&state)).await;
    }
}

/// How long clients may take to read what was already said once nothing runs; one may hold its connection for ever.
pub const LAST_BYTES: Duration = Duration::from_secs(5);

/// How long the models' last steps may take: a chunk of a prompt, at most, on a busy machine.
pub const LAST_STEP: Duration = Duration::from_secs(2);

/// How long cut calls may take to send their status.
const CUT: Duration = Duration::from_secs(1);

/// A poll of a counter, because this happens once in a server's life.
async fn idle(state: &State) {
    while state.counters.inflight() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}
