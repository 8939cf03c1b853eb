//! Which machine measured: by what its speed depends on, and by nothing that names it or its users.
//!
//! Two results whose fingerprints are equal come from one machine or from two of one kind; with any other pair, a
//! difference may be the machines' own.

use std::{fmt, fs};

/// What a figure depends on besides the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The processor, as it calls itself.
    processor: String,
    /// Cores that this program may use.
    cores: usize,
    /// Whole GiB, so that a kernel that keeps a little more to itself is no other machine.
    memory: Option<u64>,
    /// The kernel's release.
    kernel: String,
    /// A hypervisor is known to be below.
    virtual_machine: bool,
}

impl Fingerprint {
    /// The fingerprint of this machine.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (processor, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        Self::of(&processor, &memory, &read("/proc/sys/kernel/osrelease"), cores)
    }

    /// From what Linux says of itself: `/proc/cpuinfo`, `/proc/meminfo`, `/proc/sys/kernel/osrelease`; empty where there
    /// is no such file.
    pub fn of(processor: &str, memory: &str, kernel: &str, cores: usize) -> Self {
        let value = |name: &str| {
            let line = |line: &str| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            };
            processor.lines().find_map(line).filter(|value| !value.is_empty())
        };
        let arm = || Some(format!("Arm {} {}", value("CPU implementer")?, value("CPU part")?));
        let kibibytes = |line: &str| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok();
        let gibibytes = |kibibytes: u64| (kibibytes + HALF_A_GIB) / (2 * HALF_A_GIB);
        Self {
            processor: value("model name").or_else(arm).unwrap_or_else(|| UNKNOWN.to_owned()),
            cores,
            memory: memory.lines().find_map(kibibytes).map(gibibytes),
            kernel: kernel.trim().to_owned(),
            virtual_machine: value("flags").is_some_and(|f| f.split(' ').any(|flag| flag == "hypervisor")),
        }
    }

    /// Whether words that [`Fingerprint`] wrote tell machines apart at all.
    pub fn is_known(words: &str) -> bool {
        !words.is_empty() && !words.starts_with(UNKNOWN)
    }
}

/// In words, which are equal exactly for equal fingerprints.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores", self.processor, self.cores)?;
        if let Some(memory) = self.memory {
            write!(f, ", {memory} GiB")?;
        }
        if !self.kernel.is_empty() {
            write!(f, ", kernel {}", self.kernel)?;
        }
        if self.virtual_machine {
            write!(f, ", virtual machine")?;
        }
        Ok(())
    }
}

/// Where the system does not say.
const UNKNOWN: &str = "unknown processor";
/// Half a GiB, in KiB.
const HALF_A_GIB: u64 = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSOR: &str =
        "processor\t: 0\nmodel\t\t: 207\nmodel name\t: A Processor\nflags\t\t: fpu hypervisor\n";
    const MEMORY: &str = "MemTotal:       24684084 kB\nMemFree:        1 kB\n";

    #[test]
    fn a_machine_is_what_its_speed_depends_on() {
        let words = Fingerprint::of(PROCESSOR, MEMORY, "6.1.0\n", 2).to_string();
        assert_eq!(words, "A Processor, 2 cores, 24 GiB, kernel 6.1.0, virtual machine");
        assert!(Fingerprint::is_known(&words));
        let less = MEMORY.replace("24684084", "24680000");
        assert_eq!(Fingerprint::of(PROCESSOR, &less, "6.1.0", 2).to_string(), words, "a little less memory");
        for other in [
            Fingerprint::of(PROCESSOR, MEMORY, "6.2.0", 2),
            Fingerprint::of(PROCESSOR, MEMORY, "6.1.0", 4),
            Fingerprint::of(&PROCESSOR.replace(" hypervisor", ""), MEMORY, "6.1.0", 2),
        ] {
            assert_ne!(other.to_string(), words);
        }
    }

    #[test]
    fn what_is_not_known_is_never_equal_to_anything() {
        let words = Fingerprint::of("", "", "", 3).to_string();
        assert_eq!(words, "unknown processor, 3 cores");
        assert!(!Fingerprint::is_known(&words));
        let arm = Fingerprint::of("CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "MemTotal: none", "", 3);
        assert_eq!(arm.to_string(), "Arm 0x41 0xd0c, 3 cores");
    }
}
