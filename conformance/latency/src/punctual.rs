//! Threads that wake up when they are to.

/// Asks the system to end the sleeps of this thread, and of those that it starts, when they should end. Linux else lets them
/// end up to 0.05 ms later, so that it has to wake up less often.
pub fn be_punctual() {
    #[cfg(target_os = "linux")]
    {
        use std::num::NonZeroU64;

        // Where the system refuses, threads wake up later by that time, and the figures show it.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    }
}
