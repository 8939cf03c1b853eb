//! How many slots a model gets, and whether it fits: from the memory that is free and the cores that compute.

use std::{fs, path::Path};

/// Bytes that this process may still take: the least of what the machine has free and what its control group leaves.
/// `None` where the system does not tell.
pub(super) fn free_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let group = Path::new("/sys/fs/cgroup");
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let left = number("memory.max")
        .zip(number("memory.current"))
        .map(|(most, now)| most.saturating_sub(now.saturating_sub(reclaimable(&statistics))));
    machine.into_iter().chain(left).min()
}

/// Of a control group's `memory.stat`: bytes of files that were read and lie unused. They count as used, and a model that
/// was just copied there fills the group with them; the kernel drops them when a process needs the memory.
fn reclaimable(statistics: &str) -> u64 {
    let bytes = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    bytes.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Slots for a model whose full slot takes `per_slot` bytes: as many as the cores can use, in half of the free memory,
/// which leaves as much for other models and everything else.
pub(super) fn slots(per_slot: u64, free: Option<u64>, cores: usize) -> usize {
    let useful = (cores * SLOTS_A_CORE).clamp(1, MOST_SLOTS);
    let fitting = free.map_or(useful as u64, |free| free / 2 / per_slot.max(1));
    useful.min(usize::try_from(fitting).unwrap_or(usize::MAX)).max(1)
}

/// Rows of a decode step that one core still turns into more tokens a second: with an int8 model on two cores 8 rows gave
/// 458 tokens/s, 16 gave 524, and more only made each stream slower.
const SLOTS_A_CORE: usize = 8;

/// Beyond, the sampler and the step's gaps weigh more than the rows bring.
const MOST_SLOTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn cores_and_memory_both_bound_the_slots() {
        assert_eq!(slots(MIB, None, 2), 16);
        assert_eq!(slots(MIB, Some(1000 * MIB), 64), MOST_SLOTS);
        assert_eq!(slots(90 * MIB, Some(1800 * MIB), 2), 10, "half of the memory");
        assert_eq!(slots(90 * MIB, Some(MIB), 2), 1, "one slot at least: loading says whether it fits");
        assert_eq!(slots(0, Some(0), 0), 1);
    }

    #[test]
    fn the_kernels_own_words_are_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 * MIB));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
        assert_eq!(reclaimable("anon 9\ninactive_file 4096\nactive_file 7\n"), 4096);
        assert_eq!(reclaimable("anon 9\n"), 0);
    }
}
