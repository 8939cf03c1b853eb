//! Where this user's files are that can be made again: the library, the models.

use std::{env, path::PathBuf};

/// The cache that `ci/` fills.
pub fn cache_dir() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("AI_INFERENCE_CACHE").or_else(|| {
        let home = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
        home.map(|cache| cache.join("ai-inference"))
    })
}
