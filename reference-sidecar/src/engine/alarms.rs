//! Waking the readers of a step, all at once.
//!
//! The model's threads use every core, so whoever is woken takes one of them away for a moment. Sixteen readers woken one by
//! one did that sixteen times a step, each for a token of its own, and cost a tenth of the rate. Here one task is put
//! into the readers' runtime, which wakes them from inside: one thread comes, and takes all of the step's tokens along.

use std::task::Waker;

use tokio::runtime::Handle;

/// Readers to wake when the step's work is done.
#[derive(Debug)]
pub(super) struct Alarms {
    wakers: Vec<Waker>,
    /// Where readers run; without one they are woken directly.
    runtime: Option<Handle>,
}

/// An engine that dies leaves nobody asleep.
impl Drop for Alarms {
    fn drop(&mut self) {
        std::mem::take(&mut self.wakers).into_iter().for_each(Waker::wake);
    }
}

impl Alarms {
    /// For readers in the runtime from which this is called, if it is one.
    pub(super) fn new() -> Self {
        Self { wakers: Vec::new(), runtime: Handle::try_current().ok() }
    }

    /// Remembers one.
    pub(super) fn extend(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Wakes all that were remembered.
    pub(super) fn ring(&mut self) {
        let wakers = std::mem::take(&mut self.wakers);
        match (&self.runtime, wakers.len()) {
            (_, 0) => {}
            (Some(runtime), 2..) => {
                drop(runtime.spawn(async move { wakers.into_iter().for_each(Waker::wake) }));
            }
            _ => wakers.into_iter().for_each(Waker::wake),
        }
    }
}
