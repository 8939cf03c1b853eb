//! The exemplar's places: so many generations at a time, and a queue of bounded length in the order of priority.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tonic::{Status, metadata::MetadataValue};

/// Generations at a time: more than most checks start at once, and few enough to be filled.
const SLOTS: usize = 48;
/// Requests that wait; one more is refused.
const QUEUE: usize = 128;
/// After so many that went past the one that waits longest, that one is next, whatever its priority (CONCURRENCY-008).
const OVERTAKES: u32 = 8;
/// When a request that was refused may come back, in milliseconds (CONCURRENCY-012).
const PUSHBACK: &str = "100";

/// The pool of places.
#[derive(Debug)]
pub(super) struct Slots(Arc<Mutex<Line>>);

#[derive(Debug)]
struct Line {
    free: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    overtakes: u32,
}

#[derive(Debug)]
struct Waiting {
    priority: i32,
    call: oneshot::Sender<Slot>,
}

/// Handed to the next one, or free, when dropped.
#[derive(Debug)]
struct Slot(Arc<Mutex<Line>>);

impl Slots {
    /// Waits for a place, or is refused where the queue is full.
    pub(super) async fn turn(&self, priority: i32) -> Result<impl Send + 'static, Status> {
        let called = {
            let mut line = lock(&self.0);
            if line.free > 0 {
                line.free -= 1;
                return Ok(Slot(Arc::clone(&self.0)));
            }
            line.forget_the_gone();
            if line.waiting.len() >= QUEUE {
                return Err(full());
            }
            let (call, called) = oneshot::channel();
            line.waiting.push(Waiting { priority, call });
            called
        };
        called.await.map_err(|_| Status::unavailable("the server is going away"))
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Line { free: SLOTS, waiting: Vec::new(), overtakes: 0 })))
    }
}

impl Line {
    /// The most urgent one that waits, of equals the first come; or the oldest, when it was overtaken too often.
    fn next(&mut self) -> Option<Waiting> {
        self.forget_the_gone();
        let urgent = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.priority)?.0;
        let next = if self.overtakes >= OVERTAKES { 0 } else { urgent };
        self.overtakes = if next == 0 { 0 } else { self.overtakes + 1 };
        Some(self.waiting.remove(next))
    }

    fn forget_the_gone(&mut self) {
        self.waiting.retain(|waiting| !waiting.call.is_closed());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut line = lock(&self.0);
            let next = line.next();
            if next.is_none() {
                line.free += 1;
            }
            next
        };
        // One who has gone meanwhile drops the slot, which hands it on.
        if let Some(next) = next {
            let _ = next.call.send(Slot(Arc::clone(&self.0)));
        }
    }
}

fn full() -> Status {
    let mut status = Status::resource_exhausted("the queue is full");
    status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from_static(PUSHBACK));
    status
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}
