//! Which models there are, and which are loaded: `model_id` is the name of a sub-directory.
//!
//! A request's `model_id` is only ever compared with names that were read from the directory; it never becomes a part
//! of a path. Loading happens once, however many ask; unloading lets running generations finish, because each holds
//! its model (CONTROL-008).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;
use tokio::{sync::OnceCell, task};

use super::{LoadError, LoadedModel, Loader, Package, PackageError};
use crate::backends::onnx::OnnxError;

/// The models of one directory.
#[derive(Debug)]
pub struct Registry {
    dir: PathBuf,
    default: String,
    loader: Loader,
    loaded: Mutex<HashMap<String, Cell>>,
}

/// A model's place: whoever comes first loads it, the others wait.
type Cell = Arc<OnceCell<Arc<LoadedModel>>>;

/// A model that cannot be had. Safe to show to clients: no paths.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// ERROR-001.
    #[error("model {id:?} is not known here")]
    Unknown {
        /// As asked for, shortened.
        id: String,
    },
    /// It is there, and the machine has no memory for it now.
    #[error("model {id:?} does not fit into the memory that is free; unload another, or try again later")]
    NoRoom {
        /// Its name.
        id: String,
    },
    /// It is there and does not load; the log says why.
    #[error("model {id:?} cannot be loaded")]
    Broken {
        /// Its name.
        id: String,
    },
}

/// A directory of models that cannot be served from.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Not there, or not a directory.
    #[error("failed to read the models directory {}: {error}", .dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Nothing in it.
    #[error(
        "{} holds no model package (a sub-directory with {}): run `ci/models smollm2`, or name another directory with \
         --models DIR",
        .dir.display(),
        Package::CONFIG
    )]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
    /// `--default-model` names nothing.
    #[error("the default model {id:?} is not in {}; there are: {}", .dir.display(), .known.join(", "))]
    NoDefault {
        /// As asked for.
        id: String,
        /// The directory.
        dir: PathBuf,
        /// What is there.
        known: Vec<String>,
    },
}

impl Registry {
    /// Looks into the directory and settles the default model: the one named, else the first by name.
    pub fn open(dir: &Path, default: Option<&str>, loader: Loader) -> Result<Self, DirectoryError> {
        let packages = packages(dir)?;
        let known: Vec<_> = packages.into_iter().filter(|(_, p)| p.is_ok()).map(|(id, _)| id).collect();
        let first = known.first().ok_or_else(|| DirectoryError::Empty { dir: dir.to_owned() })?;
        let default = default.unwrap_or(first).to_owned();
        if !known.contains(&default) {
            return Err(DirectoryError::NoDefault { id: default, dir: dir.to_owned(), known });
        }
        Ok(Self { dir: dir.to_owned(), default, loader, loaded: Mutex::default() })
    }

    /// The model that an empty `model_id` asks for (ERROR-002).
    pub fn default_id(&self) -> &str {
        &self.default
    }

    /// Every model that a request may name, by name (CONTROL-004).
    pub async fn ids(&self) -> Vec<String> {
        let dir = self.dir.clone();
        let found = task::spawn_blocking(move || packages(&dir)).await;
        let found = found.map(Result::unwrap_or_default).unwrap_or_default();
        found.into_iter().filter(|(_, package)| package.is_ok()).map(|(id, _)| id).collect()
    }

    /// A loaded model; loads it if it is not.
    pub async fn get(&self, id: &str) -> Result<Arc<LoadedModel>, RegistryError> {
        let id = if id.is_empty() { &self.default } else { id };
        let cell = self.cell(id).await?;
        cell.get_or_try_init(|| self.load(id.to_owned())).await.cloned()
    }

    /// Forgets a model; generations that run on it go on. True when it was loaded.
    pub async fn unload(&self, id: &str) -> Result<bool, RegistryError> {
        let unloaded = self.lock().remove(id);
        match unloaded {
            Some(cell) => Ok(cell.initialized()),
            None if self.ids().await.iter().any(|known| known == id) => Ok(false),
            None => Err(unknown(id)),
        }
    }

    /// The models that are loaded now. Waits for nothing.
    pub fn loaded(&self) -> Vec<Arc<LoadedModel>> {
        self.lock().values().filter_map(|cell| cell.get().cloned()).collect()
    }

    /// The place of one model; a fresh one where its engine has died.
    async fn cell(&self, id: &str) -> Result<Cell, RegistryError> {
        if let Some(cell) = self.lock().get(id) {
            let dead = cell.get().is_some_and(|model| model.engine.is_stopped());
            if !dead {
                return Ok(Arc::clone(cell));
            }
        }
        if !self.ids().await.iter().any(|known| known == id) {
            return Err(unknown(id));
        }
        let mut loaded = self.lock();
        let cell = loaded.entry(id.to_owned()).or_default();
        if cell.get().is_some_and(|model| model.engine.is_stopped()) {
            *cell = Arc::default();
        }
        Ok(Arc::clone(cell))
    }

    async fn load(&self, id: String) -> Result<Arc<LoadedModel>, RegistryError> {
        let (loader, dir, name) = (self.loader.clone(), self.dir.join(&id), id.clone());
        let loading = task::spawn_blocking(move || loader.load(&name, &dir));
        match loading.await {
            Ok(Ok(model)) => {
                let slots = model.engine.capacity().slots;
                tracing::info!(model = id, slots, memory_mib = model.memory >> 20, "loaded");
                Ok(Arc::new(model))
            }
            Ok(Err(error)) => {
                tracing::error!(model = id, %error, "failed to load");
                Err(match error {
                    LoadError::Onnx(OnnxError::NoRoom { .. }) => RegistryError::NoRoom { id },
                    _ => RegistryError::Broken { id },
                })
            }
            Err(error) => {
                tracing::error!(model = id, %error, "failed to load");
                Err(RegistryError::Broken { id })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Cell>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sub-directory's name, and the package in it.
pub type Found = (String, Result<Package, PackageError>);

/// Every sub-directory that means to be a package, by name, with what is wrong with it.
pub fn packages(dir: &Path) -> Result<Vec<Found>, DirectoryError> {
    let unreadable = |error| DirectoryError::Unreadable { dir: dir.to_owned(), error };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A name that is not UTF-8 cannot be asked for; one with a dot is somebody's work in progress; a comma would
        // break the list that list_models answers with.
        let Ok(id) = entry.file_name().into_string() else { continue };
        if id.starts_with('.') || id.contains(',') || !entry.path().join(Package::CONFIG).is_file() {
            continue;
        }
        found.push((id, Package::open(&entry.path())));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// An id may be as long as a message, and the answer travels in a header: quote only its start.
fn unknown(id: &str) -> RegistryError {
    RegistryError::Unknown { id: id.chars().take(64).collect() }
}
