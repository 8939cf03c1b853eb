//! Waking the readers of a step, all at once.
//!
//! The model's threads use every core, so a reader that is woken takes one of them away for a moment. Sixteen readers
//! woken one by one did that sixteen times a step, each for a token of its own, and cost a tenth of the rate. Here one
//! task is put into the readers' runtime, which wakes them from inside: one thread comes, and takes all of the step's
//! tokens along.

use std::task::Waker;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Readers to wake when the step's work is done.
#[derive(Debug)]
pub(super) struct Alarms {
    bell: Bell,
    /// Where readers run; without one they are woken directly.
    runtime: Option<Handle>,
}

/// Wakes when it is dropped: also when an engine dies, and when a runtime that is shutting down drops its tasks.
#[derive(Debug, Default)]
struct Bell(Vec<Waker>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Alarms {
    /// For readers in the runtime from which this is called, if it is one. One with a single thread may be blocked by
    /// the very reader that waits.
    pub(super) fn new() -> Self {
        let several = |runtime: &Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        Self { bell: Bell::default(), runtime: Handle::try_current().ok().filter(several) }
    }

    /// Remembers a waker for the next ring.
    pub(super) fn extend(&mut self, waker: Option<Waker>) {
        self.bell.0.extend(waker);
    }

    /// Wakes all that were remembered.
    pub(super) fn ring(&mut self) {
        let bell = std::mem::take(&mut self.bell);
        if let Some(runtime) = &self.runtime
            && bell.0.len() > 1
        {
            drop(runtime.spawn(async move { drop(bell) }));
        }
    }
}
