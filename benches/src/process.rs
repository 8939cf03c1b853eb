//! What the system says of the processor time of a process, read from `/proc`. `None` where there is no such thing.

use std::{fs, time::Duration};

/// Processor time of all its threads since its start.
pub fn processor_time(pid: u32) -> Option<Duration> {
    // utime and stime are the 14th and 15th field.
    time_in_stat(&pid.to_string(), 11)
}

/// Processor time of all children of this process that have ended and were waited for, and of theirs.
pub fn processor_time_of_children() -> Option<Duration> {
    // cutime and cstime, the 16th and 17th.
    time_in_stat("self", 13)
}

fn time_in_stat(process: &str, skip: usize) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything; the third comes after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(skip);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis((user + system) * 1000 / ticks))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{process, time::Instant};

    use super::*;

    #[test]
    fn a_process_that_works_uses_time() {
        let pid = process::id();
        let (before, began) = (processor_time(pid).unwrap(), Instant::now());
        let mut sum = 0_u64;
        while began.elapsed() < Duration::from_secs(5) && processor_time(pid).unwrap() == before {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
        }
        std::hint::black_box(sum);
        assert!(processor_time(pid).unwrap() > before);
    }

    #[test]
    fn a_child_that_has_worked_is_counted_once_it_is_waited_for() {
        let before = processor_time_of_children().unwrap();
        let work = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        let mut child = process::Command::new("sh").args(["-c", work]).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(processor_time_of_children().unwrap() > before);
    }

    #[test]
    fn a_process_that_is_not_there_has_none() {
        assert_eq!(processor_time(0), None);
    }
}
