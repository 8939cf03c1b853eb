//! What the checks of a run have seen of their target so far, and need not look at again each.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::Pace;

/// Shared by the checks of a run.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Sights>>);

#[derive(Debug, Default)]
struct Sights {
    pace: Option<(Pace, Instant)>,
    counter_moved: bool,
    slots: Option<usize>,
}

impl Seen {
    /// The quickest pace so far, and when the last sample was taken.
    pub(super) fn pace(&self) -> Option<(Pace, Instant)> {
        self.sights().pace
    }

    /// Adds a sample of the pace, and gives the quickest so far.
    pub(super) fn add_pace(&self, sample: Pace) -> Pace {
        let mut sights = self.sights();
        let pace = sights.pace.map_or(sample, |(known, _)| known.quicker(sample));
        sights.pace = Some((pace, Instant::now()));
        pace
    }

    /// Whether `requests_inflight` has been seen above zero: it counts, and its zero means something.
    pub(super) fn counter_moved(&self) -> bool {
        self.sights().counter_moved
    }

    /// Adds what the counter showed.
    pub(super) fn add_counter(&self, shown: i64) {
        self.sights().counter_moved |= shown > 0;
    }

    /// So many generations ran at a time when the server was full.
    pub(super) fn slots(&self) -> Option<usize> {
        self.sights().slots
    }

    /// The server is full with so many. Fewer than before were not all of them: a busy machine is slow to start the rest.
    pub(super) fn add_slots(&self, running: usize) {
        let mut sights = self.sights();
        sights.slots = sights.slots.max(Some(running));
    }

    /// The server was not full with so many.
    pub(super) fn forget_slots(&self) {
        self.sights().slots = None;
    }

    fn sights(&self) -> MutexGuard<'_, Sights> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
