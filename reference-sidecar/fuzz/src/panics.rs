//! Makes panics visible: a task of the server that panics ends quietly, and its client only sees a reset.

use std::{
    panic,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

static SEEN: AtomicUsize = AtomicUsize::new(0);

/// Counts from now on; the message is still printed.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.fetch_add(1, Ordering::SeqCst);
            print(info);
        }));
    });
}

/// So many of them were caught and told as errors.
pub fn expect(caught: usize) {
    SEEN.fetch_sub(caught, Ordering::SeqCst);
}

/// An error once anything has panicked. Each panic is told once.
pub fn check() -> Result<(), String> {
    match SEEN.swap(0, Ordering::SeqCst) {
        0 => Ok(()),
        seen => Err(format!("{seen} panics, printed above")),
    }
}
