//! Reads sides that were measured earlier.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    common::host,
    side::Side,
    turns::{SIDES, blocks_in},
};
use crate::{
    bench::{conditions::Conditions, record::Recording, saved::Beforehand},
    cli::call::refuse,
    exit::Exit,
};

/// A side's blocks where it is saved; the error is said already.
pub(super) fn read_side(side: &Side, output: &Path) -> Result<Option<Vec<Recording>>, Exit> {
    let Side::Saved(path) = side else { return Ok(None) };
    if let (Ok(saved), Ok(output)) = (path.canonicalize(), output.canonicalize())
        && (saved == output || saved.starts_with(blocks_in(&output)))
    {
        let why = format!("{side} would be overwritten by this comparison; give it another --output");
        return Err(refuse(Exit::Usage, &why));
    }
    read(path).map(Some)
}

/// What is known of the sides before anything is measured; nothing that matters where none is saved.
pub(super) fn beforehand(saved: &[Option<Vec<Recording>>; 2]) -> Result<Option<Beforehand>, Exit> {
    if let [Some(baseline), Some(candidate)] = saved {
        agree(&baseline[0], &candidate[0])?;
    }
    let Some(blocks) = saved.iter().flatten().map(Vec::len).min() else { return Ok(None) };
    let first = |side: &Option<Vec<Recording>>| side.as_ref().map(|blocks| blocks[0].setup.clone());
    let hosts = saved.each_ref().map(|side| first(side).map_or_else(host, |setup| setup.host));
    let when = saved.each_ref().map(|side| {
        first(side).map_or("measured now".to_owned(), |setup| format!("measured from {} on", setup.started))
    });
    Ok(Some(Beforehand { hosts, blocks, when }))
}

/// The blocks of a saved side, in order: a recording is one, a comparison's directory has its candidate's, a run's
/// directory its only one. At least one; the error is said already.
fn read(path: &Path) -> Result<Vec<Recording>, Exit> {
    let no_recording = |error: &io::Error| {
        let why = format!(
            "cannot read saved:{}: {error}; expected a recording (requests.jsonl.gz of `bench run`), or the --output of a \
             `bench run` or `bench compare`",
            path.display()
        );
        refuse(Exit::Usage, &why)
    };
    let files = files(path).map_err(|error| no_recording(&error))?;
    let read = |file: &PathBuf| {
        Recording::read(file)
            .map_err(|error| no_recording(&io::Error::other(format!("{}: {error}", file.display()))))
    };
    let recordings: Vec<_> = files.iter().map(read).collect::<Result<_, _>>()?;
    let Some(first) = recordings.first() else { return Err(no_recording(&io::Error::other("no blocks"))) };
    for (number, recording) in recordings.iter().enumerate() {
        alike(path, first, recording, number)?;
    }
    Ok(recordings)
}

/// Refuses two saved sides that were measured otherwise.
fn agree(baseline: &Recording, candidate: &Recording) -> Result<(), Exit> {
    let (one, other) = (Conditions::of(&baseline.setup), Conditions::of(&candidate.setup));
    let differences = one.differences("in the baseline", &other, "in the candidate");
    if differences.is_empty() {
        return Ok(());
    }
    let why = format!("the saved sides were measured otherwise: {}", differences.join("; "));
    Err(refuse(Exit::Usage, &why))
}

/// All blocks of a side are of one measurement: equal but for the seed, which goes up by one.
fn alike(path: &Path, first: &Recording, recording: &Recording, number: usize) -> Result<(), Exit> {
    let mut expected = first.setup.clone();
    expected.seed = expected.seed.wrapping_add(number as u64);
    let here = format!("in block {}", number + 1);
    let differences =
        Conditions::of(&recording.setup).differences(&here, &Conditions::of(&expected), "by the first block");
    if differences.is_empty() && recording.setup.host == first.setup.host {
        return Ok(());
    }
    let why =
        if differences.is_empty() { "another host measured it".to_owned() } else { differences.join("; ") };
    let why = format!("saved:{} holds blocks of several measurements: {here}, {why}", path.display());
    Err(refuse(Exit::Usage, &why))
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let single = path.join("requests.jsonl.gz");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let candidate = format!("-{}.jsonl.gz", SIDES[1]);
    let entries = fs::read_dir(blocks_in(path))?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.ends_with(&candidate)));
    files.sort();
    Ok(files)
}
