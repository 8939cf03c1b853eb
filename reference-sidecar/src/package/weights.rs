//! The graph's file, and the data files that its tensors lie in.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;

use super::{Package, PackageError, onnx, read};

/// What a graph is made from.
#[derive(Debug)]
pub struct Weights {
    /// The ONNX file's content; it names its data files as they are called in `folder`.
    pub graph: Bytes,
    /// Where the data files are, all of them: a hub's cache has links to one directory.
    pub folder: PathBuf,
    /// The data files.
    pub data: Vec<DataFile>,
    /// Bytes of all of these, which become the weights in memory.
    pub bytes: u64,
}

/// A file beside a graph, as it was when it was first looked at.
#[derive(Debug)]
pub struct DataFile {
    /// Its place, without links.
    pub path: PathBuf,
    seen: (u64, u64, u64, i64, i64),
}

impl Weights {
    /// Reads the graph, and looks for the data files that it names.
    pub fn read(package: &Package) -> Result<Self, PackageError> {
        let wrong = |why: String| PackageError::Graph { file: package.graph().to_owned(), why };
        let mut graph = Bytes::from(read(package.graph())?);
        let mut bytes = graph.len() as u64;
        let mut places = BTreeMap::new();
        let note = &mut |name: &str| {
            places.insert(name.to_owned(), PathBuf::new());
            name.to_owned()
        };
        onnx::rename_data_files(&graph, note).map_err(wrong)?;
        for (name, place) in &mut places {
            if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(wrong(format!(
                    "its weights are in {name:?}, which is not a file of the package"
                )));
            }
            let named = package.dir().join(name);
            *place = named.canonicalize().map_err(|_| PackageError::Missing { file: named })?;
        }
        let folder =
            places.values().next().and_then(|place| place.parent()).unwrap_or(package.dir()).to_owned();
        if let Some((name, _)) = places.iter().find(|(_, place)| place.parent() != Some(&folder)) {
            return Err(wrong(format!("{name:?} does not lie in one directory with its other data files")));
        }
        let linked = |(name, place): (&String, &PathBuf)| place.file_name() != Some(name.as_ref());
        if places.iter().any(linked) {
            let called = &mut |name: &str| {
                let file = places.get(name).and_then(|place| place.file_name());
                file.unwrap_or_default().to_string_lossy().into_owned()
            };
            graph = onnx::rename_data_files(&graph, called).map_err(wrong)?.unwrap_or(graph);
        }
        let mut data = Vec::new();
        for path in places.into_values() {
            let meta = stat(&path)?;
            bytes += meta.len();
            data.push(DataFile { seen: identity(&meta), path });
        }
        Ok(Self { graph, folder, data, bytes })
    }
}

impl DataFile {
    /// Refuses a file that is another one now, or was written to.
    pub fn unchanged(&self) -> Result<(), PackageError> {
        if identity(&stat(&self.path)?) == self.seen {
            return Ok(());
        }
        Err(PackageError::Changed { file: self.path.clone() })
    }
}

fn stat(path: &Path) -> Result<Metadata, PackageError> {
    fs::metadata(path).map_err(|error| PackageError::Unreadable { file: path.to_owned(), error })
}

fn identity(meta: &Metadata) -> (u64, u64, u64, i64, i64) {
    (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}
