//! Why a file is no target: the place, what stands there, and what was expected.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

/// Why a file is no target.
#[derive(Debug)]
pub struct BadTargetFile {
    path: PathBuf,
    /// Number of the line, counted from 1.
    line: Option<usize>,
    fault: Fault,
}

/// What is wrong with it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no TOML, or holds a field that is not known, or one of another type.
    Shape(String),
    /// A field says something that it cannot.
    Value {
        /// The name of the field.
        field: &'static str,
        /// What it says. Never a credential.
        found: String,
        /// What is allowed there.
        expected: String,
    },
    /// A credential that cannot be had.
    Credential {
        /// The field that names the credential.
        field: String,
        /// Why the credential cannot be had.
        why: String,
    },
    /// Something that is needed is not there.
    Missing(&'static str),
}

impl BadTargetFile {
    pub(super) fn new(path: &Path, line: Option<usize>, fault: Fault) -> Self {
        Self { path: path.to_owned(), line, fault }
    }

    /// At a place in the file's text.
    pub(super) fn at(path: &Path, text: &str, place: Range<usize>, fault: Fault) -> Self {
        let before = text.get(..place.start).unwrap_or(text);
        Self::new(path, Some(before.matches('\n').count() + 1), fault)
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl fmt::Display for BadTargetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.fault {
            Fault::Unreadable(error) => write!(f, ": the target file cannot be read: {error}"),
            Fault::Shape(what) => write!(f, ": {what}"),
            Fault::Value { field, found, expected } => {
                write!(f, ": {field} is {found:?}; expected {expected}")
            }
            Fault::Credential { field, why } => write!(f, ": {field}: {why}"),
            Fault::Missing(what) => write!(f, ": {what}"),
        }
    }
}

impl std::error::Error for BadTargetFile {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}
