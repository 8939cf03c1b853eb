//! Where floors are kept: a file of the user's own, because they are of a machine and not of a repository.

use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::floors::Store;

/// A file of floors.
#[derive(Clone, Debug)]
pub struct FloorFile(pub PathBuf);

/// Why a file of floors cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {file}: {why}; remove it, or name another file")]
pub struct BadFloors {
    file: String,
    why: String,
}

impl FloorFile {
    /// By the XDG base directory specification, which says that a path that is not absolute does not count.
    pub fn of_user() -> Option<Self> {
        let directory = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
        Some(Self(state?.join("ai-inference/floors.json")))
    }

    /// `None` where there is no such file.
    pub fn read(&self) -> Result<Option<Store>, BadFloors> {
        let bad = |why: &str| BadFloors { file: self.0.display().to_string(), why: why.to_owned() };
        match fs::read_to_string(&self.0) {
            Ok(text) => Store::parse(&text).map(Some).map_err(|why| bad(&why)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(&error.to_string())),
        }
    }

    /// Whole or not at all, also if the machine stops meanwhile.
    pub fn write(&self, store: &Store) -> io::Result<()> {
        let directory = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut fresh = tempfile::NamedTempFile::new_in(directory)?;
        fresh.write_all((serde_json::to_string_pretty(store)? + "\n").as_bytes())?;
        fresh.as_file().sync_all()?;
        fresh.persist(&self.0)?;
        Ok(())
    }
}
