//! `models list` and `models check`: what can be served, and if not, why.

use std::io::{self, Write as _};

use super::Failure;
use crate::{
    backends::{
        Backend as _,
        onnx::{OnnxBackend, OnnxOptions, Runtime},
    },
    config::{Check, List, Models, ModelsCommand, ResolvedOnnx, models_dir},
    package::Package,
    registry::{LoadError, packages},
    text::Tokenizer,
};

/// Looks at model directories.
pub fn models(raw: Models) -> Result<(), Failure> {
    match raw.command {
        ModelsCommand::List(list) => list_packages(&list),
        ModelsCommand::Check(check) => check_package(check),
        ModelsCommand::Measure(measure) => super::measure::measure(measure),
    }
}

fn list_packages(list: &List) -> Result<(), Failure> {
    let dir = models_dir(list.dir.as_deref())?;
    let found = packages(&dir)?;
    let mut out = io::stdout().lock();
    if found.is_empty() {
        eprintln!("no model packages in {}: run `ci/models smollm2` for one", dir.display());
    }
    let width = found.iter().map(|(id, _)| id.chars().count()).max().unwrap_or_default();
    for (id, package) in &found {
        match package {
            Ok(package) => writeln!(out, "{id:width$}  {}", summary(package))?,
            Err(error) => writeln!(out, "{id:width$}  cannot be served: {error}")?,
        }
    }
    match found.iter().filter(|(_, package)| package.is_err()).count() {
        0 => Ok(()),
        broken => Err(Failure::Unservable(broken)),
    }
}

fn check_package(check: Check) -> Result<(), Failure> {
    let onnx = ResolvedOnnx::from(check.onnx);
    let package = Package::open(&check.dir)?;
    let tokenizer = Tokenizer::open(package.tokenizer())?;
    let runtime = Runtime::load(onnx.library.as_deref())?;
    let options = OnnxOptions {
        provider: runtime.provider(onnx.provider)?,
        slots: Some(2),
        threads: onnx.threads,
        kernels: onnx.kernels,
    };
    let mut backend = OnnxBackend::load(&runtime, &package, options).map_err(LoadError::from)?;
    let prompt = tokenizer.encode("Hello")?;
    backend.prefill(0, 0, &prompt)?;
    let mut out = io::stdout().lock();
    writeln!(out, "can be served: {}", summary(&package))?;
    if package.end_of_text().is_empty() {
        writeln!(out, "note: {}", Package::NO_END)?;
    }
    Ok(())
}

fn summary(package: &Package) -> String {
    let cache = package.cache();
    let layers = cache.names.len() / 2;
    let bytes = 4 * cache.names.len() * cache.kv_heads * cache.head_size * cache.context;
    format!(
        "context {}, vocabulary {}, {layers} layers, KV cache {:.1} MiB a slot when full",
        cache.context,
        package.vocabulary(),
        bytes as f64 / f64::from(1 << 20)
    )
}
