//! The child-process side of what is written in Rust: a backend in a loop.
//!
//! The only file here that uses the sidecar's inner interfaces.

use std::{
    io::{self, BufRead as _, Write as _},
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use reference_sidecar::{
    backends::{
        Backend as _, Row,
        onnx::{Kernels, OnnxBackend, OnnxOptions, Provider, Runtime},
    },
    package::Package,
    text::Tokenizer,
};
use serde_json::json;

use super::{
    engine::{Measured, Task},
    options::{Options, Role},
};

/// The package's tokenizer.
pub(crate) fn tokenizer(package: &Path) -> anyhow::Result<Tokenizer> {
    Ok(Tokenizer::open(Package::open(package)?.tokenizer())?)
}

/// Answers tasks until standard input closes.
pub(crate) fn serve(role: Role, options: &Options) -> anyhow::Result<()> {
    let package = Package::open(&options.package()?)?;
    let kernels = if role == Role::Bare { Kernels::OnnxRuntime } else { Kernels::Own };
    let onnx = OnnxOptions {
        provider: Provider::Cpu,
        slots: Some(options.slots()?),
        threads: options.threads,
        kernels,
    };
    let mut backend = OnnxBackend::load(&Runtime::load(None)?, &package, onnx)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}",
        json!({ "ready": format!("reference-sidecar's {role:?}, {} threads", options.threads) })
    )?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let task: Task = serde_json::from_str(&line?).context("cannot understand the task")?;
        match bare(&mut backend, &task) {
            Ok(measured) => writeln!(out, "{}", serde_json::to_string(&measured)?)?,
            Err(error) => writeln!(out, "{}", json!({ "error": format!("{error:#}") }))?,
        }
        out.flush()?;
    }
    Ok(())
}

/// The ceiling: each prompt into its slot, then steps over all slots, the best token of each row, and nothing else.
fn bare(backend: &mut OnnxBackend, task: &Task) -> anyhow::Result<Measured> {
    let (capacity, slots) = (backend.capacity(), task.prompts.len());
    ensure!((1..=capacity.slots).contains(&slots), "{slots} sequences do not fit");
    let began = Instant::now();
    let mut rows = Vec::with_capacity(slots);
    for (slot, prompt) in task.prompts.iter().enumerate() {
        ensure!(prompt.len() + task.tokens <= capacity.context, "the sequences do not fit the context");
        rows.push(Row { token: best(backend.prefill(slot, 0, prompt)?), past: prompt.len() });
    }
    let read = Instant::now();
    for _ in 1..task.tokens {
        let logits = backend.decode(&rows)?;
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(capacity.vocabulary)) {
            *row = Row { token: best(logits), past: row.past + 1 };
        }
    }
    Ok(Measured {
        tokens: (slots * task.tokens.saturating_sub(1)) as f64,
        seconds: read.elapsed().as_secs_f64(),
        prefill_seconds: read.duration_since(began).as_secs_f64(),
    })
}

/// The first of the largest. In two passes, of which the compiler makes vector code: a bare loop that loses time here
/// would be too easy to keep up with.
fn best(logits: &[f32]) -> i64 {
    let mut lanes = [f32::MIN; 16];
    let chunks = logits.chunks_exact(lanes.len());
    let rest = chunks.remainder().iter().copied().fold(f32::MIN, f32::max);
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = if *logit > *lane { *logit } else { *lane };
        }
    }
    let top = lanes.into_iter().fold(rest, f32::max);
    logits.iter().position(|logit| *logit >= top).unwrap_or(0) as i64
}

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_best_is_the_first_of_the_largest() {
        let mut logits: Vec<f32> = (0..100_u8).map(|i| f32::from(i % 37)).collect();
        assert_eq!(best(&logits), 36);
        logits[99] = 50.0;
        assert_eq!(best(&logits), 99);
    }
}
