//! What the user feels while waiting: a word after two seconds, and a way out.

use std::{
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

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

/// Waits for Ctrl-C, SIGTERM or SIGHUP. One that came earlier counts: none is lost between two waits.
pub(super) async fn interrupted() {
    signals_above(0).await;
}

/// Waits for one more signal than have come until now.
pub(super) async fn interrupted_again() {
    let seen = signals().map_or(0, |signals| *signals.borrow());
    signals_above(seen).await;
}

/// From now on signals are counted, and do not end the program.
pub(super) fn watch_signals() {
    let _ = signals();
}

async fn signals_above(seen: u32) {
    let Some(mut signals) = signals() else { return std::future::pending().await };
    if signals.wait_for(|count| *count > seen).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How many signals have come. A thread of its own counts them for the whole life of the program.
fn signals() -> Option<watch::Receiver<u32>> {
    static SIGNALS: OnceLock<Option<watch::Receiver<u32>>> = OnceLock::new();
    SIGNALS
        .get_or_init(|| {
            let (counter, count) = watch::channel(0);
            let (listening, listens) = mpsc::channel();
            let watcher = thread::Builder::new().name("signals".to_owned());
            watcher.spawn(move || watch_for_ever(&counter, &listening)).ok()?;
            listens.recv().ok().map(|()| count)
        })
        .clone()
}

fn watch_for_ever(counter: &watch::Sender<u32>, listening: &mpsc::Sender<()>) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let kinds = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (Ok(mut interrupt), Ok(mut terminate)) = kinds else { return };
        let mut hang_up = if ignores_hang_up() { None } else { signal(SignalKind::hangup()).ok() };
        let _ = listening.send(());
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = async {
                    match &mut hang_up {
                        Some(hang_up) => { hang_up.recv().await; }
                        None => std::future::pending().await,
                    }
                } => {}
            }
            counter.send_modify(|count| *count += 1);
        }
    });
}

/// Under `nohup` a terminal that goes away is no reason to stop.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
