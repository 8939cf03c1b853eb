//! Where an adapter lies below the root, what of it tells that it has changed, and its bytes. Blocks.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::misfit::Misfit;

/// The files of one adapter. Two that are equal hold the same adapter, as far as the file system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Tensors in the graphs' form.
    Tensors(Stamped),
    /// A directory that PEFT wrote.
    Peft { config: Stamped, tensors: Stamped },
}

/// A file below the root, without symbolic links on the way, and what it was like when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamped {
    path: PathBuf,
    /// Another one where a file was put in this one's place, however quickly.
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// Why a file could not be read whole.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It went away, or it must not be read.
    Gone(io::Error),
    /// It says more than it can mean.
    Misfit(Misfit),
}

impl Source {
    /// Looks for a plain name below `root`, which is a real path. `None` where there is nothing that could be an adapter,
    /// and where links lead out.
    pub(super) fn find(root: &Path, name: &str) -> Option<Self> {
        let path = root.join(name);
        if path.is_dir() {
            let file = |name| Stamped::of(root, &path.join(name));
            return Some(Self::Peft { config: file(PEFT_CONFIG)?, tensors: file(PEFT_TENSORS)? });
        }
        let with_extension = root.join(format!("{name}.safetensors"));
        Stamped::of(root, &path).or_else(|| Stamped::of(root, &with_extension)).map(Self::Tensors)
    }
}

impl Stamped {
    fn of(root: &Path, path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let metadata = path.metadata().ok()?;
        (path.starts_with(root) && metadata.is_file()).then(|| Self {
            path,
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// The whole file, unless it is larger than `most`.
    pub(super) fn read(&self, most: u64) -> Result<Vec<u8>, ReadError> {
        let too_large = || ReadError::Misfit(Misfit::TooLarge { most });
        if self.bytes > most {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        // It may have grown since.
        let mut file = File::open(&self.path).map_err(ReadError::Gone)?.take(most + 1);
        file.read_to_end(&mut bytes).map_err(ReadError::Gone)?;
        if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
    }
}

/// File names, as PEFT's `save_pretrained` writes them.
const PEFT_CONFIG: &str = "adapter_config.json";
const PEFT_TENSORS: &str = "adapter_model.safetensors";
