//! Inputs worth mutating: those that made the server do something new.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// A directory of inputs, and what they were seen to do.
#[derive(Debug)]
pub struct Corpus {
    inputs: Vec<Vec<u8>>,
    signatures: BTreeSet<String>,
    /// Where new inputs are written.
    save: Option<PathBuf>,
    /// Of what is saved, or would be.
    bytes: usize,
}

impl Corpus {
    /// Reads a directory, which need not be there; new inputs are written to it if `save` is set.
    pub fn read(directory: &Path, save: bool) -> io::Result<Self> {
        let mut files: Vec<_> = match fs::read_dir(directory) {
            Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        // The same order everywhere, so that a seed means the same.
        files.sort();
        let inputs = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        let bytes = inputs.iter().map(Vec::len).sum();
        Ok(Self { inputs, signatures: BTreeSet::new(), save: save.then(|| directory.to_owned()), bytes })
    }

    /// All inputs of the corpus.
    pub fn inputs(&self) -> &[Vec<u8>] {
        &self.inputs
    }

    /// Number of different behaviours seen.
    pub fn behaviours(&self) -> usize {
        self.signatures.len()
    }

    /// Keeps an input whose behaviour is new, while there is room.
    pub fn learn(&mut self, input: &[u8], signature: String) -> io::Result<()> {
        let is_new = self.signatures.insert(signature) && !self.inputs.iter().any(|known| known == input);
        if !is_new || self.inputs.len() >= MOST_INPUTS {
            return Ok(());
        }
        self.bytes += input.len();
        self.inputs.push(input.to_owned());
        match &self.save {
            Some(directory) if self.bytes <= MOST_SAVED => write(directory, "", input).map(drop),
            _ => Ok(()),
        }
    }
}

/// Writes an input under a name made from its bytes.
pub fn write(directory: &Path, prefix: &str, input: &[u8]) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    fs::create_dir_all(directory)?;
    let file = directory.join(format!("{prefix}{:016x}", hasher.finish()));
    fs::write(&file, input)?;
    Ok(file)
}

/// Bytes on disk: a corpus is committed, and a repository's size is worth more than the last behaviour.
const MOST_SAVED: usize = 64 << 10;
/// Most inputs that are kept in memory.
const MOST_INPUTS: usize = 4096;
