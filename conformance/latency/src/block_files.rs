//! Where a comparison's recordings lie, and how they are named.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where a comparison that writes into `output` keeps its recordings.
pub fn blocks_in(output: &Path) -> PathBuf {
    output.join("blocks")
}

/// A block's file, numbered from 1, so that names sort as blocks do.
pub(crate) fn file_name(number: usize, side: &str) -> String {
    format!("{:03}-{side}.jsonl.gz", number + 1)
}

/// The candidate's blocks of an earlier comparison in `output`, in order.
pub(crate) fn candidates_in(output: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(blocks_in(output))?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| is_of(file, SIDES[1]));
    files.sort();
    Ok(files)
}

/// Removes the recordings of an earlier comparison, and no other file.
pub(crate) fn clear(output: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(blocks_in(output)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if SIDES.iter().any(|side| is_of(&path, side)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn is_of(file: &Path, side: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.ends_with(&format!("-{side}.jsonl.gz")))
}

/// The names of a comparison's sides, in its files.
pub const SIDES: [&str; 2] = ["baseline", "candidate"];
