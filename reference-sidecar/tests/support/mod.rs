//! What several tests need: a model ready to run, and what to ask of it.
//!
//! A missing ONNX Runtime is a failure that names the command that fetches it; nothing is skipped in silence.

#![expect(dead_code, reason = "each test crate uses its part of this module")]

pub(crate) mod server;

use std::path::{Path, PathBuf};

use reference_sidecar::{
    backends::onnx::{Kernels, OnnxBackend, OnnxOptions, Provider, Runtime},
    engine::SamplingParameters,
    package::Package,
    paths::cache_dir,
    text::Tokenizer,
};

/// A package, its tokenizer and a backend of `slots` for it.
pub(crate) fn onnx(package: &Path, slots: usize) -> (Package, Tokenizer, OnnxBackend) {
    let runtime = Runtime::load(None).unwrap_or_else(|error| panic!("{error}"));
    let package = Package::open(package).unwrap();
    let tokenizer = Tokenizer::open(package.tokenizer()).unwrap();
    let options =
        OnnxOptions { provider: Provider::Cpu, slots: Some(slots), threads: 2, kernels: Kernels::Own };
    let backend = OnnxBackend::load(&runtime, &package, options).unwrap();
    (package, tokenizer, backend)
}

/// A model that `made_by` puts into the cache. Without it a test is skipped, loudly; where REQUIRE_SMOLLM2 is set, it fails.
pub(crate) fn cached(model: &str, made_by: &str) -> Option<PathBuf> {
    let package = cache_dir().unwrap_or_default().join("models").join(model);
    if package.is_dir() {
        return Some(package);
    }
    assert!(std::env::var_os("REQUIRE_SMOLLM2").is_none(), "no {model} in the cache: run `{made_by}`");
    eprintln!("SKIPPED: no {model} in the cache; `{made_by}` makes it");
    None
}

/// The contract's greedy request, validated.
pub(crate) fn greedy_parameters(max_new_tokens: usize) -> SamplingParameters {
    SamplingParameters::resolve(Some(testkit::greedy(max_new_tokens))).unwrap()
}
