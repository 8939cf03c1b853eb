//! How much memory this process may still take, and what it gives back.

use std::{fs, path::Path};

/// Bytes that this process may still take: the least of what the machine has free and what its control group leaves.
/// `None` where the system does not tell.
pub fn free() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let group = Path::new("/sys/fs/cgroup");
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let left = number("memory.max")
        .zip(number("memory.current"))
        .map(|(most, now)| most.saturating_sub(now.saturating_sub(reclaimable(&statistics))));
    machine.into_iter().chain(left).min()
}

/// From now on a block of a mebibyte or more goes back to the system as soon as it is freed. By itself glibc keeps ever larger
/// ones after the first is freed, and a model that was loaded leaves as much as half its size behind, unused.
pub fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: a setting of the allocator, which locks itself.
        #[expect(unsafe_code, reason = "the allocator's settings are C's")]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
        }
    }
}

/// Gives back what was freed lately, in small blocks too: after a model has come or gone. Otherwise a server that loads and unloads
/// all day grows, by the pieces that each load leaves in another thread's part of the heap.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "the allocator is C's")]
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BLOCK: libc::c_int = 1 << 20;

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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_kernels_own_words_are_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 * MIB));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
        assert_eq!(reclaimable("anon 9\ninactive_file 4096\nactive_file 7\n"), 4096);
        assert_eq!(reclaimable("anon 9\n"), 0);
    }
}
