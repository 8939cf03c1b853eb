//! Ending a prompt's step whose reader is gone while it runs: a chunk can take seconds, and other requests wait for the
//! slot.
//!
//! The step loop says whose prompt the backend reads; a reader that is dropped ends that step if it is its own. Both
//! under one lock, so that a cancellation never hits the next sequence's step. Decode steps, which are short and shared,
//! are never interrupted and never lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{backends::Interrupter, scheduler::SequenceId};

/// Whose prompt is being read.
#[derive(Debug)]
pub(super) struct Interrupts {
    interrupter: Option<Interrupter>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    id: Option<SequenceId>,
    interrupted: bool,
}

impl Interrupts {
    /// Of a backend that may know no way to end a step.
    pub(super) fn new(interrupter: Option<Interrupter>) -> Self {
        Self { interrupter, running: Mutex::default() }
    }

    /// The engine's: the step that follows is this sequence's.
    pub(super) fn begin(&self, id: SequenceId) {
        if self.interrupter.is_some() {
            self.running().id = Some(id);
        }
    }

    /// The engine's: the step is over. Later steps run, whether this one was interrupted or just too quick for it.
    pub(super) fn end(&self) {
        let Some(interrupter) = &self.interrupter else { return };
        let mut running = self.running();
        running.id = None;
        if std::mem::take(&mut running.interrupted) {
            interrupter.clear();
        }
    }

    /// The reader's: the step that runs is over if it is this sequence's.
    pub(super) fn interrupt(&self, id: SequenceId) {
        let Some(interrupter) = &self.interrupter else { return };
        let mut running = self.running();
        if running.id == Some(id) {
            running.interrupted = true;
            interrupter.interrupt();
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
