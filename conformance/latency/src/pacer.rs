//! Waits until a request is due, on a thread of its own, to within some hundredths of a millisecond.

use std::{
    hint, thread,
    time::{Duration, Instant},
};

/// Sleeps for most of the time, and looks at the clock for the rest. It does not yield meanwhile: on a core that it
/// shares with the thread that reads answers, that thread would then run until the system gives the core to another
/// thread, milliseconds later. A thread that wakes up from a sleep runs at once.
pub(super) fn wait_until(at: Instant) {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match left.checked_sub(LATE).filter(|most| !most.is_zero()) {
            Some(most) => thread::sleep(most),
            None => hint::spin_loop(),
        }
    }
}

/// By which a sleep ends late: what it takes to be woken up.
const LATE: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_let_go_too_early_and_what_is_past_is_not_waited_for() {
        crate::punctual::be_punctual();
        let began = Instant::now();
        for micros in [0, 10, 500, 2000] {
            let at = began + Duration::from_micros(micros);
            wait_until(at);
            assert!(Instant::now() >= at);
        }
        wait_until(began);
    }
}
