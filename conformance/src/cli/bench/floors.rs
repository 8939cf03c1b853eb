//! `--floors` and `--no-floors`: which floors a comparison uses.

use std::path::PathBuf;

use latency::{FloorFile, floors::Store};

use crate::{cli::call::refuse, exit::Exit};

/// Which floors are used.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorArgs {
    /// The file of noise floors that `bench calibrate` stored [default: $XDG_STATE_HOME/ai-inference/floors.json, else
    /// below ~/.local/state; used if it is there]
    #[arg(long, value_name = "FILE", conflicts_with = "no_floors")]
    pub floors: Option<PathBuf>,
    /// Judge without the noise floors of this host
    #[arg(long)]
    pub no_floors: bool,
}

impl FloorArgs {
    /// The store, empty where there is none and none was named; the error is said already.
    pub(super) fn read(&self) -> Result<Store, Exit> {
        if self.no_floors {
            return Ok(Store::default());
        }
        match (&self.floors, FloorFile::of_user()) {
            (Some(file), _) => read(&FloorFile(file.clone()))?.ok_or_else(|| {
                let why =
                    format!("there is no {}; `conformance bench calibrate --store` makes it", file.display());
                refuse(Exit::Usage, &why)
            }),
            (None, Some(file)) => Ok(read(&file)?.unwrap_or_default()),
            (None, None) => Ok(Store::default()),
        }
    }
}

/// What is in the file, if it is there; the error is said already.
pub(super) fn read(file: &FloorFile) -> Result<Option<Store>, Exit> {
    file.read().map_err(|bad| refuse(Exit::Usage, &bad))
}
