//! Reads sides that were measured earlier.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    block_files::{blocks_in, candidates_in},
    conditions::Conditions,
    host::Fingerprint,
    record::Recording,
    saved::Beforehand,
};

/// The blocks of a side that was measured earlier: at least one.
#[derive(Clone, Debug)]
pub struct Saved(Vec<Recording>);

/// Why a saved side cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSaved {
    /// The comparison would write where it reads.
    #[error("saved:{0} would be overwritten by this comparison; give it another --output")]
    Overwritten(String),
    /// There is no recording, or none that can be read.
    #[error(
        "cannot read saved:{path}: {why}; expected a recording (requests.jsonl.gz of `bench run`), or the --output of a \
         `bench run` or `bench compare`"
    )]
    NoRecording {
        /// The path as the user gave it.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Its blocks were not measured alike.
    #[error("saved:{path} holds blocks of several measurements: in block {block}, {why}")]
    Mixed {
        /// The path as the user gave it.
        path: String,
        /// Number of the block, counted from 1.
        block: usize,
        /// How it differs from the first block.
        why: String,
    },
    /// The sides were not measured alike.
    #[error("the saved sides were measured under different conditions: {0}")]
    Otherwise(String),
}

impl Saved {
    /// The blocks of a saved side, in order: a recording is one, a comparison's directory has its candidate's, a run's
    /// directory its only one. `output` is where the new comparison will write.
    pub fn read(path: &Path, output: &Path) -> Result<Self, BadSaved> {
        let shown = || path.display().to_string();
        if let (Ok(saved), Ok(output)) = (path.canonicalize(), output.canonicalize())
            && (saved == output || saved.starts_with(blocks_in(&output)))
        {
            return Err(BadSaved::Overwritten(shown()));
        }
        let no_recording = |why: String| BadSaved::NoRecording { path: shown(), why };
        let files = files(path).map_err(|error| no_recording(error.to_string()))?;
        let read = |file: &PathBuf| {
            Recording::read(file).map_err(|error| no_recording(format!("{}: {error}", file.display())))
        };
        let recordings: Vec<_> = files.iter().map(read).collect::<Result<_, _>>()?;
        let Some(first) = recordings.first() else { return Err(no_recording("no blocks".to_owned())) };
        for (number, recording) in recordings.iter().enumerate() {
            if let Some(why) = difference(first, recording, number) {
                return Err(BadSaved::Mixed { path: shown(), block: number + 1, why });
            }
        }
        Ok(Self(recordings))
    }

    /// What is known of the sides before anything is measured; nothing that matters where none is saved.
    pub fn beforehand(saved: &[Option<Self>; 2]) -> Result<Option<Beforehand>, BadSaved> {
        if let [Some(baseline), Some(candidate)] = saved {
            agree(baseline.first(), candidate.first())?;
        }
        let Some(blocks) = saved.iter().flatten().map(|side| side.0.len()).min() else { return Ok(None) };
        let first = |side: &Option<Self>| side.as_ref().map(|side| side.first().setup.clone());
        let hosts = saved
            .each_ref()
            .map(|side| first(side).map_or_else(|| Fingerprint::here().to_string(), |setup| setup.host));
        let when = saved.each_ref().map(|side| {
            first(side)
                .map_or("measured now".to_owned(), |setup| format!("measured from {} on", setup.started))
        });
        Ok(Some(Beforehand { hosts, blocks, when }))
    }

    /// The first block.
    pub fn first(&self) -> &Recording {
        &self.0[0]
    }

    /// The block with this number, from 0.
    pub(crate) fn block(&self, number: usize) -> Option<&Recording> {
        self.0.get(number)
    }
}

/// Refuses two saved sides that were measured under different conditions.
fn agree(baseline: &Recording, candidate: &Recording) -> Result<(), BadSaved> {
    let (one, other) = (Conditions::of(&baseline.setup), Conditions::of(&candidate.setup));
    let differences = one.differences("in the baseline", &other, "in the candidate");
    if differences.is_empty() { Ok(()) } else { Err(BadSaved::Otherwise(differences.join("; "))) }
}

/// What shows that a block is not of the same measurement: all are equal but for the seed, which goes up by one.
fn difference(first: &Recording, recording: &Recording, number: usize) -> Option<String> {
    let mut expected = first.setup.clone();
    expected.seed = expected.seed.wrapping_add(number as u64);
    let here = format!("in block {}", number + 1);
    let differences =
        Conditions::of(&recording.setup).differences(&here, &Conditions::of(&expected), "by the first block");
    match differences.is_empty() {
        true if recording.setup.host == first.setup.host => None,
        true => Some("another host measured it".to_owned()),
        false => Some(differences.join("; ")),
    }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let single = path.join("requests.jsonl.gz");
    if single.is_file() { Ok(vec![single]) } else { candidates_in(path) }
}
