//! Background load: a few generations that never stop, while a check measures something else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task::JoinSet;
use tonic::Code;

use super::{Probe, StreamItem};
use crate::verdict::NotPassed;

/// Generations that run until the value is dropped; each is started again when it ends.
#[derive(Debug)]
pub struct Load {
    workers: JoinSet<()>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    running: AtomicUsize,
    ever: AtomicUsize,
}

impl Load {
    /// Starts `width` generations, as long as the server takes them, each on a connection of its own, and waits for the
    /// first text of any of them: a server may take fewer at a time.
    pub async fn start(probe: &Probe, width: usize) -> Result<Self, NotPassed> {
        let counts = Arc::new(Counts::default());
        let bound = probe.longest_bound().await?;
        let mut workers = JoinSet::new();
        let (ready, mut readied) = tokio::sync::mpsc::channel::<()>(1);
        for _ in 0..width {
            let connection = probe.connect().await?;
            let streamer = probe.streamer();
            let request = probe.request(bound);
            let (counts, ready) = (Arc::clone(&counts), ready.clone());
            workers.spawn(async move {
                loop {
                    let mut stream = streamer.open(&connection).await;
                    stream.send(&request);
                    stream.half_close();
                    let mut counted = false;
                    while let StreamItem::Response(response) = stream.next().await {
                        if !counted && !response.message.chunk.is_empty() {
                            counted = true;
                            counts.running.fetch_add(1, Ordering::Relaxed);
                            counts.ever.fetch_add(1, Ordering::Relaxed);
                            let _ = ready.try_send(());
                        }
                    }
                    if counted {
                        counts.running.fetch_sub(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
            });
        }
        drop(ready);
        let _ = tokio::time::timeout(probe.patience(), readied.recv()).await;
        let load = Self { workers, counts };
        if load.counts.ever.load(Ordering::Relaxed) == 0 {
            return Err(NotPassed::Fail(format!(
                "none of {width} legal generations sent any text within {}",
                wire::time(probe.patience())
            )));
        }
        Ok(load)
    }

    /// How many generations are between their first text and their end right now.
    pub fn running(&self) -> usize {
        self.counts.running.load(Ordering::Relaxed)
    }

    /// Cancels them all.
    pub async fn stop(mut self) {
        self.workers.shutdown().await;
    }
}

/// Asked for until one is taken.
const BOUNDS: [i64; 4] = [16_384, 4096, 1024, 256];

impl Probe {
    /// The largest bound that the server takes: one beyond its context may be INVALID_ARGUMENT.
    pub async fn longest_bound(&self) -> Result<i64, NotPassed> {
        for bound in BOUNDS {
            let mut stream = self.stream().await?;
            stream.send(&self.request(bound));
            stream.half_close();
            match stream.next().await {
                StreamItem::End(end) if end.code() == Some(Code::InvalidArgument) => {}
                StreamItem::End(end) if !end.is_full() => {
                    return Err(NotPassed::Fail(format!("a generation of {bound} tokens {}", end.told())));
                }
                _ => {
                    stream.cancel();
                    return Ok(bound);
                }
            }
        }
        Err(NotPassed::Fail(format!(
            "no long generation was served: bounds of {BOUNDS:?} are all INVALID_ARGUMENT"
        )))
    }
}
