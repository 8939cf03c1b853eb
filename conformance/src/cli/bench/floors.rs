//! Where floors are kept: a file of the user's own, because they are of a machine and not of a repository.

use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{bench::floors::Store, cli::call::refuse, exit::Exit};

/// Which floors are used.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorArgs {
    /// What `bench calibrate` stored [default: $XDG_STATE_HOME/ai-inference/floors.json, else below ~/.local/state; used if it
    /// is there]
    #[arg(long, value_name = "FILE", conflicts_with = "no_floors")]
    pub floors: Option<PathBuf>,
    /// Use no floors
    #[arg(long)]
    pub no_floors: bool,
}

impl FloorArgs {
    /// The store, empty where there is none and none was named; the error is said already.
    pub(super) fn read(&self) -> Result<Store, Exit> {
        if self.no_floors {
            return Ok(Store::default());
        }
        match (&self.floors, default_file()) {
            (Some(file), _) => read(file)?.ok_or_else(|| {
                let why =
                    format!("there is no {}; `conformance bench calibrate --store` makes it", file.display());
                refuse(Exit::Usage, &why)
            }),
            (None, Some(file)) => Ok(read(&file)?.unwrap_or_default()),
            (None, None) => Ok(Store::default()),
        }
    }
}

/// `None` where there is no such file.
pub(super) fn read(file: &Path) -> Result<Option<Store>, Exit> {
    let bad = |why: &str| {
        let why = format!("cannot use {}: {why}; remove it, or name another file", file.display());
        refuse(Exit::Usage, &why)
    };
    match fs::read_to_string(file) {
        Ok(text) => Store::parse(&text).map(Some).map_err(|why| bad(&why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(&error.to_string())),
    }
}

/// Whole or not at all.
pub(super) fn write(file: &Path, store: &Store) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut fresh = tempfile::NamedTempFile::new_in(directory)?;
    fresh.write_all((serde_json::to_string_pretty(store)? + "\n").as_bytes())?;
    fresh.as_file().sync_all()?;
    fresh.persist(file)?;
    Ok(())
}

/// By the XDG base directory specification, which says that a path that is not absolute does not count.
pub(super) fn default_file() -> Option<PathBuf> {
    let directory = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    Some(state?.join("ai-inference/floors.json"))
}
