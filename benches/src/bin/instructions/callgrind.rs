//! One case under callgrind: this program once more, counting only while [`measured_stretch`] runs.

use std::{
    env, fs,
    hint::black_box,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use benches::cases::{self, Case, Work};

/// The instructions that doing a case once takes, after it has been done before.
pub(crate) fn count(name: &str) -> anyhow::Result<u64> {
    let out = tempfile::NamedTempFile::new()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect={COUNTED}"));
    valgrind.arg(format!("--callgrind-out-file={}", out.path().display()));
    valgrind.arg(env::current_exe()?).args(["--case", name]).stdin(Stdio::null());
    let output = valgrind.output().context("cannot start valgrind; Debian: apt-get install valgrind")?;
    if !output.status.success() {
        bail!("valgrind ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    total(&fs::read_to_string(out.path())?)
        .filter(|total| *total > 0)
        .context("callgrind counted nothing: has the program lost its symbols?")
        .map(|total| total / TIMES)
}

/// That nothing is counted but the work: a case that prepares much and does nothing has next to no instructions.
pub(crate) fn check() -> anyhow::Result<()> {
    let overhead = count(NOTHING.name)?;
    ensure!(overhead < MOST_OVERHEAD, "doing nothing takes {overhead} instructions: what is counted here?");
    Ok(())
}

/// Does a case, once uncounted, so that what is done only the first time is not in it, and then a few times.
pub(crate) fn be_counted(name: &str) -> anyhow::Result<()> {
    let mut all = cases::ALL.iter().chain([&NOTHING]);
    let case = all.find(|case| case.name == name).context("there is no such case")?;
    let mut work = (case.prepare)();
    work();
    measured_stretch(&mut work);
    Ok(())
}

/// Callgrind knows it by its name.
#[inline(never)]
fn measured_stretch(work: &mut Work) {
    for _ in 0..TIMES {
        work();
    }
}

/// The line `totals: 123` of callgrind's file.
fn total(file: &str) -> Option<u64> {
    file.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

const NOTHING: Case = Case {
    name: "nothing",
    prepare: || {
        let much: Vec<u64> = (0..10_000).map(|i: u64| i.pow(2)).collect();
        Box::new(move || {
            black_box(&much);
        })
    },
};
/// A call, and a look at the loop's end.
const MOST_OVERHEAD: u64 = 50;
/// However the compiler has mangled it.
const COUNTED: &str = "*measured_stretch*";
/// More than one, as a vector that grows does not grow each time.
const TIMES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_off_callgrinds_file() {
        let file = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) main\n1 12\n\ntotals: 4007\n";
        assert_eq!(total(file), Some(4007));
        assert_eq!(total("version: 1\n"), None);
    }
}
