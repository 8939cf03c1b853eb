//! A target as a file: what it is, how it is reached, started and stopped, and what it says of itself.
//!
//! Two stages: [`raw`] is what stands in the file, with the places where it stands; [`resolve`] is what it means, or an
//! error that names the file, the line, and what was expected.

mod error;
mod raw;
mod resolve;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ai_inference_proto::Dialect;

use super::{capability::Capability, start::Start};
use crate::vocabulary::Role;

pub use error::{BadTargetFile, Fault};

/// A target, as its file describes it.
#[derive(Clone, Debug)]
pub struct TargetFile {
    /// Where it was read.
    pub path: PathBuf,
    /// What it is called in reports.
    pub name: String,
    /// Version of the target, for reports.
    pub version: Option<String>,
    /// Where people read more about it, for reports.
    pub url: Option<String>,
    /// What it is. Empty is not said.
    pub roles: Vec<Role>,
    /// The dialect that it speaks.
    pub dialect: Option<Dialect>,
    /// The model to ask for.
    pub model: Option<String>,
    /// Its list of known failures.
    pub known_failures: Option<PathBuf>,
    /// What it says that it can do.
    pub capabilities: BTreeSet<Capability>,
    /// How it comes to run.
    pub start: Start,
}

impl TargetFile {
    /// Reads a file, the credentials that it names included.
    pub fn read(path: &Path) -> Result<Self, BadTargetFile> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadTargetFile::new(path, None, Fault::Unreadable(error)))?;
        let around = resolve::Around {
            variable: &|name| std::env::var(name).ok(),
            file: &|path| std::fs::read_to_string(path),
        };
        Self::parse(path, &text, &around)
    }

    fn parse(path: &Path, text: &str, around: &resolve::Around<'_>) -> Result<Self, BadTargetFile> {
        let raw = raw::parse(path, text)?;
        resolve::resolve(path, text, raw, around)
    }
}
