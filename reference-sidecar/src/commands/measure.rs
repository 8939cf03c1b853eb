//! `models measure`: how fast this machine runs a model, and whether a batch says what each of its sequences says alone.
//! No server, no sampling, no scheduling: the ceiling for everything above.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::Failure;
use crate::{
    backends::{
        Backend, BackendError, Row,
        onnx::{OnnxBackend, OnnxOptions, Runtime},
    },
    config::{Measure, ResolvedOnnx},
    package::Package,
    registry::LoadError,
};

/// Prints a table, or JSON lines.
pub(super) fn measure(raw: Measure) -> Result<(), Failure> {
    let onnx = ResolvedOnnx::from(raw.onnx);
    let package = Package::open(&raw.dir)?;
    let runtime = Runtime::load(onnx.library.as_deref())?;
    let provider = runtime.provider(onnx.provider)?;
    let most = raw.batch.iter().copied().max().unwrap_or(1);
    let options = OnnxOptions { provider, slots: Some(most), threads: onnx.threads, kernels: onnx.kernels };
    let mut backend = OnnxBackend::load(&runtime, &package, options).map_err(LoadError::from)?;
    let capacity = backend.capacity();
    let length = raw.prompt_tokens.min(capacity.context / 2).max(1);
    let tokens = raw.tokens.min(capacity.context - length).max(2);
    let prompts: Vec<Vec<i64>> = (0..most).map(|seed| prompt(seed, length, capacity.vocabulary)).collect();

    // What a step of each width does only once: kernels that are loaded or chosen, graphs that are recorded.
    backend.warm_up()?;
    for batch in raw.batch.iter().copied().filter(|batch| *batch > 0) {
        greedy(&mut backend, &prompts[..batch], 2)?;
    }
    let mut alone = Vec::new();
    for prompt in &prompts {
        alone.push(greedy(&mut backend, std::slice::from_ref(prompt), tokens)?.texts.swap_remove(0));
    }
    let mut out = io::stdout().lock();
    if !raw.json {
        let name = provider.backend_name();
        writeln!(
            out,
            "{name}, prompts of {length} tokens, {tokens} generated, weights {} MiB",
            backend.weights_bytes() >> 20
        )?;
        writeln!(out, "   B  decode tokens/s  ms a step  weights read GB/s  prefill tokens/s  as alone")?;
    }
    for batch in raw.batch.iter().copied().filter(|batch| *batch > 0) {
        let Ran { texts, prefill, decode } = greedy(&mut backend, &prompts[..batch], tokens)?;
        let same = texts.iter().zip(&alone).filter(|(batched, alone)| batched == alone).count();
        let steps = (tokens - 1) as f64;
        let step = decode.as_secs_f64() / steps;
        let rate = batch as f64 / step;
        let bandwidth = backend.weights_bytes() as f64 / step / 1e9;
        let reading = (batch * length) as f64 / prefill.as_secs_f64();
        if raw.json {
            let line = serde_json::json!({
                "provider": provider.backend_name(), "batch": batch, "decode_tokens_per_s": rate, "step_ms": step * 1e3,
                "weights_bytes": backend.weights_bytes(), "weights_gb_per_s": bandwidth, "prefill_tokens_per_s": reading,
                "as_alone": same,
            });
            writeln!(out, "{line}")?;
        } else {
            let ms = step * 1e3;
            writeln!(out, "{batch:4} {rate:16.1} {ms:10.3} {bandwidth:18.1} {reading:17.1}  {same}/{batch}")?;
        }
    }
    Ok(())
}

struct Ran {
    texts: Vec<Vec<u32>>,
    prefill: Duration,
    decode: Duration,
}

/// Reads each prompt into a slot of its own, then continues all together by the best token.
fn greedy(backend: &mut impl Backend, prompts: &[Vec<i64>], tokens: usize) -> Result<Ran, BackendError> {
    let vocabulary = backend.capacity().vocabulary;
    let began = Instant::now();
    let mut texts = Vec::new();
    for (slot, prompt) in prompts.iter().enumerate() {
        texts.push(vec![best(backend.prefill(slot, 0, prompt)?)]);
    }
    let prefill = began.elapsed();
    let began = Instant::now();
    for step in 0..tokens - 1 {
        let next = texts.iter().zip(prompts);
        let row = |(text, prompt): (&Vec<u32>, &Vec<i64>)| Row {
            token: i64::from(text[step]),
            past: prompt.len() + step,
        };
        let rows: Vec<_> = next.map(row).collect();
        let logits = backend.decode(&rows)?;
        for (text, logits) in texts.iter_mut().zip(logits.chunks_exact(vocabulary)) {
            text.push(best(logits));
        }
    }
    Ok(Ran { texts, prefill, decode: began.elapsed() })
}

fn best(logits: &[f32]) -> u32 {
    // Sixteen maxima side by side, which the compiler turns into vector instructions.
    let mut tops = [f32::MIN; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for chunk in whole {
        for (top, logit) in tops.iter_mut().zip(chunk) {
            *top = if *logit > *top { *logit } else { *top };
        }
    }
    let top = tops.iter().chain(rest).copied().fold(f32::MIN, f32::max);
    logits.iter().position(|logit| *logit >= top).unwrap_or(0) as u32
}

/// Tokens all over the vocabulary, others for each seed.
fn prompt(seed: usize, length: usize, vocabulary: usize) -> Vec<i64> {
    (0..length).map(|at| ((at * 7919 + seed * 104_729 + 13) % vocabulary) as i64).collect()
}
