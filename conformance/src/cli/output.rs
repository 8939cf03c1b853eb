//! Where a run leaves its reports when the command line does not say.
//!
//! Talks to: the file system, which it only looks at.

use std::{
    env,
    path::{Path, PathBuf},
};

/// `target/conformance` of the cargo project that the program was started in; elsewhere a directory of its own.
pub(super) fn default_directory() -> PathBuf {
    env::current_dir().map_or_else(|_| PathBuf::from(ELSEWHERE), |here| beside(&here))
}

fn beside(here: &Path) -> PathBuf {
    // The outermost manifest is the workspace's, which owns the build directory.
    let project = here.ancestors().filter(|folder| folder.join("Cargo.toml").is_file()).last();
    match project {
        Some(project) if project == here => PathBuf::from(IN_CARGO),
        Some(project) => project.join(IN_CARGO),
        None => PathBuf::from(ELSEWHERE),
    }
}

/// Where the reports of one of several runs go: the first run's place is that of a single run.
pub(super) fn of_repeat(directory: &Path, number: usize) -> PathBuf {
    if number == 1 { directory.to_path_buf() } else { directory.join(format!("repeat-{number}")) }
}

const IN_CARGO: &str = "target/conformance";
const ELSEWHERE: &str = "conformance-report";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cargo_project_keeps_reports_in_its_build_directory() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("crates/one");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(beside(&inner), Path::new("conformance-report"));
        for manifest in [root.path().join("Cargo.toml"), inner.join("Cargo.toml")] {
            std::fs::write(manifest, "").unwrap();
        }
        assert_eq!(beside(root.path()), Path::new("target/conformance"));
        assert_eq!(beside(&inner), root.path().join("target/conformance"));
    }
}
