//! What the user feels while waiting: a word after two seconds, and a way out.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Longer than this without a word, and people think that it hangs.
const WORDLESS: Duration = Duration::from_secs(2);

/// Waits for `work`; says `what` is going on if it takes long.
pub(super) async fn told<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(WORDLESS, &mut work).await {
        return done;
    }
    eprintln!("{what}…");
    work.await
}

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
