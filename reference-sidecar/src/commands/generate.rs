//! `generate`: one generation on the terminal.

use std::{
    io::{self, Write as _},
    time::Instant,
};

use super::Failure;
use crate::{
    backends::onnx::{OnnxOptions, Runtime},
    config::{Generate, ResolvedGenerate},
    engine::Job,
    registry::Loader,
    text::Incremental,
};

/// Streams the text to standard output and a line of figures to standard error.
pub fn generate(raw: Generate) -> Result<(), Failure> {
    let config = ResolvedGenerate::try_from(raw)?;
    let runtime = Runtime::load(config.onnx.library.as_deref())?;
    let provider = runtime.provider(config.onnx.provider)?;
    let loader = Loader {
        runtime,
        onnx: OnnxOptions {
            provider,
            slots: Some(1),
            threads: config.onnx.threads,
            kernels: config.onnx.kernels,
        },
        queue: 1,
        prefill_chunk: 512,
    };
    let model = loader.load("generate", &config.package)?;
    let started = Instant::now();
    let prompt = model.tokenizer.encode(&config.prompt)?;
    let prompt_tokens = prompt.len();
    let job = Job { prompt, priority: 0, sampling: config.sampling, seed: config.seed, adapter: None };
    let mut reader = model.engine.submit(job)?;

    let mut out = io::stdout().lock();
    let mut text = Incremental::new(model.tokenizer.clone());
    let (mut tokens, mut first) = (0_u32, None);
    while let Some(token) = reader.blocking_next() {
        first.get_or_insert_with(|| started.elapsed());
        tokens += 1;
        write!(out, "{}", text.push(token))?;
        out.flush()?;
    }
    writeln!(out, "{}", text.finish())?;
    let finish = reader.outcome()?;
    let (first, total) = (first.unwrap_or_default().as_secs_f64(), started.elapsed().as_secs_f64());
    let rate = f64::from(tokens.saturating_sub(1)) / (total - first).max(1e-9);
    eprintln!(
        "{prompt_tokens} prompt tokens, {tokens} generated ({finish:?}), first after {:.0} ms, then {rate:.1} tokens/s, \
         seed {}",
        first * 1000.0,
        config.seed
    );
    Ok(())
}
