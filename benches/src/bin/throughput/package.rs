//! A copy of a package that never ends a text, so that every sequence has as many tokens as were asked for.
//!
//! The copy stands in the cache, and where the original does too, its large files are the same files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use reference_sidecar::{package::Package, paths::cache_dir};
use serde_json::Value;

/// Makes the copy, or takes the one that is there.
pub(crate) fn without_end(package: &Path) -> anyhow::Result<PathBuf> {
    let package = package
        .canonicalize()
        .with_context(|| format!("there is no package {}: run `ci/models smollm2`", package.display()))?;
    // Beside the cache's models: what is in there, a server lists.
    let cache = cache_dir().context("no home directory: set AI_INFERENCE_CACHE")?;
    let copy = cache.join("bench/endless").join(package.file_name().context("a package must have a name")?);
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(&package)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != Package::CONFIG {
            same_file(&entry.path(), &copy.join(entry.file_name()))?;
        }
    }
    let config = fs::read(package.join(Package::CONFIG)).context("its configuration cannot be read")?;
    let mut config: Value = serde_json::from_slice(&config)?;
    let model = config.get_mut("model").and_then(Value::as_object_mut);
    model.context("its configuration has no `model`")?.remove("eos_token_id");
    fs::write(copy.join(Package::CONFIG), serde_json::to_vec_pretty(&config)?)?;
    let opened = Package::open(&copy)?;
    ensure!(opened.end_of_text().is_empty(), "the copy of the package still ends texts");
    Ok(copy)
}

/// A second name for a file; a copy where it is on another file system.
fn same_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()))
}
