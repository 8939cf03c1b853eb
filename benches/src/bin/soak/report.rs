//! Progress, the curve of memory, verdicts; and files for later. Consumes samples; measures nothing.

use std::{fmt::Write as _, fs, io, path::Path};

use serde_json::json;

use super::{
    options::Options,
    samples::Sample,
    verdict::{Growth, Verdict},
};

/// One line a sample.
pub(crate) fn progress(sample: &Sample) {
    let Sample { seconds, load, tokens_per_second, health_ms, counts, .. } = sample;
    let memory =
        sample.resident_kib.map_or_else(|| "?".to_owned(), |kib| format!("{:.1}", kib as f64 / 1024.0));
    eprintln!(
        "{:>4}:{:02}  {memory:>7} MiB  {:>5} in flight  {:>5} waiting  {:>3} busy  {tokens_per_second:>7.0} tokens/s  \
         Health {health_ms:>5.1} ms  {counts}",
        *seconds as u64 / 60,
        *seconds as u64 % 60,
        load.inflight,
        load.waiting,
        load.busy
    );
}

/// Memory over time, as characters.
pub(crate) fn curve(samples: &[Sample]) {
    let memory: Vec<f64> =
        samples.iter().filter_map(|sample| sample.resident_kib).map(|kib| kib as f64 / 1024.0).collect();
    let (Some(low), Some(high)) =
        (memory.iter().copied().reduce(f64::min), memory.iter().copied().reduce(f64::max))
    else {
        return;
    };
    println!("the server's memory, {low:.1} (_) to {high:.1} MiB (#), over the mixed phase:");
    println!("  {}", draw(&memory, low, high));
}

/// Every verdict; true if all hold.
pub(crate) fn verdicts(verdicts: &[Verdict]) -> bool {
    for Verdict { what, holds, seen } in verdicts {
        println!("{} {what}: {seen}", if *holds { "PASS" } else { "FAIL" });
    }
    verdicts.iter().all(|verdict| verdict.holds)
}

/// `soak.json` and `soak.csv`.
pub(crate) fn write(
    directory: &Path,
    options: &Options,
    samples: &[Sample],
    verdicts: &[Verdict],
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let report = json!({
        "schema": 1,
        "streams": options.streams,
        "connections": options.connections,
        "slots": options.slots,
        "queue": options.queue,
        "seed": options.seed,
        "verdicts": verdicts,
        "memory": Growth::of(samples),
        "samples": samples,
    });
    fs::write(directory.join("soak.json"), serde_json::to_vec_pretty(&report)?)?;
    fs::write(directory.join("soak.csv"), csv(samples))
}

fn csv(samples: &[Sample]) -> String {
    let mut out =
        String::from("seconds,resident_kib,inflight,waiting,busy,tokens_per_second,health_ms,ended\n");
    for sample in samples {
        let Sample { seconds, load, tokens_per_second, health_ms, counts, .. } = sample;
        let resident = sample.resident_kib.map(|kib| kib.to_string()).unwrap_or_default();
        let _ = writeln!(
            out,
            "{seconds:.1},{resident},{},{},{},{tokens_per_second:.0},{health_ms:.2},{}",
            load.inflight,
            load.waiting,
            load.busy,
            counts.all()
        );
    }
    out
}

/// At most [`WIDTH`] characters, each the highest of its samples.
fn draw(values: &[f64], low: f64, high: f64) -> String {
    let each = values.len().div_ceil(WIDTH).max(1);
    let step = |value: f64| {
        ((value - low) / (high - low).max(f64::MIN_POSITIVE) * (LEVELS.len() - 1) as f64) as usize
    };
    values
        .chunks(each)
        .filter_map(|part| part.iter().copied().reduce(f64::max))
        .filter_map(|value| LEVELS.get(step(value)))
        .collect()
}

const WIDTH: usize = 72;
const LEVELS: [char; 7] = ['_', '.', '-', '=', '+', '*', '#'];

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_curve_shows_its_ends() {
        assert_eq!(draw(&[0.0, 3.0, 6.0], 0.0, 6.0), "_=#");
        assert_eq!(draw(&[5.0, 5.0], 5.0, 5.0), "__");
        let long: Vec<f64> = (0..1000).map(f64::from).collect();
        assert!(draw(&long, 0.0, 999.0).len() <= 72);
    }
}
