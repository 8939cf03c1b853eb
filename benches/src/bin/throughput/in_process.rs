//! The child-process side of what is written in Rust: the bare backend in a loop, and the engine without a network.
//!
//! The only file here that uses the sidecar's inner interfaces.

use std::{
    hint::black_box,
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
    engine::{EngineHandle, EngineOptions, Job, SamplingParameters},
    models::Package,
    text::{Incremental, Tokenizer},
};
use serde_json::json;

use super::{
    engine::{Measured, Task},
    options::{Options, Role},
};

/// Answers one task.
type Measure = dyn FnMut(&Task) -> anyhow::Result<Measured>;

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
    let backend = OnnxBackend::load(&Runtime::load(None)?, &package, onnx)?;
    let mut measure: Box<Measure> = match role {
        Role::Bare | Role::Backend => {
            let mut backend = backend;
            Box::new(move |task| bare(&mut backend, task))
        }
        Role::Engine => {
            let options =
                EngineOptions { queue: 1, prefill_chunk: 128, ahead: 4096, end_of_text: Vec::new() };
            let engine = EngineHandle::start("bench", backend, options)?;
            let tokenizer = Tokenizer::open(package.tokenizer())?;
            Box::new(move |task| first_token(&engine, &tokenizer, task))
        }
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}",
        json!({ "ready": format!("reference-sidecar's {role:?}, {} threads", options.threads) })
    )?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let task: Task = serde_json::from_str(&line?).context("cannot understand the task")?;
        match measure(&task) {
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

/// From the one prompt's text to the first token's, as over gRPC, without a network.
fn first_token(engine: &EngineHandle, tokenizer: &Tokenizer, task: &Task) -> anyhow::Result<Measured> {
    let sampling = SamplingParameters { max_new_tokens: 1, top_p: 0.001, ..SamplingParameters::default() };
    let text = task.texts.first().context("there is no prompt")?;
    let began = Instant::now();
    let prompt = tokenizer.encode(text)?;
    let mut reader = engine.submit(Job { prompt, priority: 0, sampling, seed: 1, adapter: None })?;
    let token = reader.blocking_next();
    let mut answer = Incremental::new(tokenizer.clone());
    black_box(token.map(|token| answer.push(token)));
    let prefill_seconds = began.elapsed().as_secs_f64();
    ensure!(token.is_some(), "the engine gave no token: {:?}", reader.outcome());
    Ok(Measured { tokens: 0.0, seconds: 0.0, prefill_seconds })
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
