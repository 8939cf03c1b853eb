//! Waits until a request is due, on a thread of its own, to within some hundredths of a millisecond.

use std::{
    hint, thread,
    time::{Duration, Instant},
};

/// Asks the system to end this thread's sleeps when they should end. Linux else lets them end up to 0.05 ms later, so that it
/// has to wake up less often.
pub(super) fn be_punctual() {
    #[cfg(target_os = "linux")]
    {
        use std::num::NonZeroU64;

        // A system that refuses makes the pacer late by that, which the figures say.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    }
}

/// Sleeps for most of the time, and looks at the clock for the rest. It does not yield meanwhile: on a core that it shares with
/// the thread that reads answers, that one would then run until the system thinks that it is somebody else's turn,
/// milliseconds later; whoever wakes up from a sleep runs at once.
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
    fn nobody_is_let_go_too_early_and_what_is_past_is_not_waited_for() {
        be_punctual();
        let began = Instant::now();
        for micros in [0, 10, 500, 2000] {
            let at = began + Duration::from_micros(micros);
            wait_until(at);
            assert!(Instant::now() >= at);
        }
        wait_until(began);
    }
}
