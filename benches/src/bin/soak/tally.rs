//! How streams ended, counted; and the first faults, in words.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

/// How one stream ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Its whole text came.
    Complete,
    /// The server had no room for it.
    Refused,
    /// The client cancelled it, or its connection was cut.
    Left,
    /// Its deadline passed.
    Late,
    /// It must not have ended so.
    Fault(String),
}

/// Counts, which move while streams run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    complete: AtomicU64,
    refused: AtomicU64,
    left: AtomicU64,
    late: AtomicU64,
    faults: AtomicU64,
    /// The first few faults.
    shown: Mutex<Vec<String>>,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) complete: u64,
    pub(crate) refused: u64,
    pub(crate) left: u64,
    pub(crate) late: u64,
    pub(crate) faults: u64,
}

impl Tally {
    pub(crate) fn count(&self, ending: Ending) {
        let counter = match ending {
            Ending::Complete => &self.complete,
            Ending::Refused => &self.refused,
            Ending::Left => &self.left,
            Ending::Late => &self.late,
            Ending::Fault(why) => {
                let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                if shown.len() < MOST_SHOWN {
                    shown.push(why);
                }
                &self.faults
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            complete: read(&self.complete),
            refused: read(&self.refused),
            left: read(&self.left),
            late: read(&self.late),
            faults: read(&self.faults),
        }
    }

    /// The first faults.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Counts {
    /// All that ended.
    pub(crate) const fn all(&self) -> u64 {
        self.complete + self.refused + self.left + self.late + self.faults
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { complete, refused, left, late, faults } = self;
        write!(f, "{complete} complete, {refused} refused, {left} left, {late} late, {faults} faults")
    }
}

/// A server that is wrong once is wrong often.
const MOST_SHOWN: usize = 20;
