//! Who runs where, and before whom: the server on the last core that there is, its clients on the first. So neither takes the
//! other's, and one core is what a client has.

/// Runs this process, and the children that it starts from now on, before everything else on the machine, if the system
/// lets it; says whether it does. Work of other processes is no lateness of the client's.
pub(crate) fn go_first() -> bool {
    rustix::process::setpriority_process(None, -20).is_ok()
}

/// Runs this process, and the children that it starts from now on, on the machine's last core; says whether that is a
/// core of its own.
pub(crate) fn take_last() -> bool {
    pin(|cores| cores.last().copied())
}

/// Likewise on the first.
pub(crate) fn take_first() -> bool {
    pin(|cores| cores.first().copied())
}

#[cfg(target_os = "linux")]
fn pin(choose: impl Fn(&[usize]) -> Option<usize>) -> bool {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let Some(core) = choose(&cores).filter(|_| cores.len() > 1) else { return false };
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn pin(_: impl Fn(&[usize]) -> Option<usize>) -> bool {
    false
}
