//! Which models there are, and which are loaded: `model_id` is the name of a sub-directory.
//!
//! A request's `model_id` is only ever compared with names that were read from the directory; it never becomes a part
//! of a path. Loading happens once, however many ask and however many of them leave before it is done; unloading lets
//! running generations finish, because each holds its model (CONTROL-008).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{
    sync::{Semaphore, watch},
    task,
};
use tracing::Instrument as _;

use super::{LoadError, LoadedModel, Loader, leaving::Leaving};
use crate::{
    backends::onnx::OnnxError,
    package::{Package, PackageError},
};

/// The models of one directory.
#[derive(Debug)]
pub struct Registry {
    dir: PathBuf,
    default: String,
    loader: Loader,
    places: Mutex<HashMap<String, Place>>,
    leaving: Arc<Leaving>,
    /// One load at a time: the next one sees the memory that this one took.
    loads: Arc<Semaphore>,
    /// Readers of the directory at once; each holds a thread.
    looks: Arc<Semaphore>,
}

/// A model's place, from the first request for it. Requests that come meanwhile wait for the same load.
type Place = watch::Receiver<Option<Load>>;

/// A load that is over.
#[derive(Clone, Debug)]
struct Load {
    outcome: Result<Arc<LoadedModel>, RegistryError>,
    ended: Instant,
}

impl Load {
    /// It serves, or it failed so lately that another try would end no better. Without that memory a broken
    /// package would be read again for every request that names it.
    fn stands(&self) -> bool {
        match &self.outcome {
            Ok(model) => !model.engine.is_stopped(),
            Err(_) => self.ended.elapsed() < FAILURE_STANDS,
        }
    }
}

/// A model that cannot be had. Safe to show to clients: no paths.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// There is no such model (ERROR-001).
    #[error("model {id:?} is not known here")]
    Unknown {
        /// The name that was asked for, shortened.
        id: String,
    },
    /// It is there, and the machine has no memory for it now.
    #[error("model {id:?} does not fit into the memory that is free; unload another, or try again later")]
    NoRoom {
        /// Name of the model.
        id: String,
    },
    /// It is there and does not load; the log says why.
    #[error("model {id:?} cannot be loaded")]
    Broken {
        /// Name of the model.
        id: String,
    },
}

/// A directory of models that cannot be served from.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Not there, or not a directory.
    #[error("failed to read the models directory {}: {error}", .dir.display())]
    Unreadable {
        /// The directory that was named.
        dir: PathBuf,
        /// The error of the file system.
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
        /// The directory that was named.
        dir: PathBuf,
    },
    /// `--default-model` names nothing.
    #[error("the default model {id:?} is not in {}; there are: {}", .dir.display(), .known.join(", "))]
    NoDefault {
        /// The name that was asked for.
        id: String,
        /// The directory that was named.
        dir: PathBuf,
        /// The models that are there.
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
        let (loads, looks) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(LOOKS_AT_ONCE)));
        let (dir, places, leaving) = (dir.to_owned(), Mutex::default(), Arc::default());
        Ok(Self { dir, default, loader, places, leaving, loads, looks })
    }

    /// The model that an empty `model_id` asks for (ERROR-002).
    pub fn default_id(&self) -> &str {
        &self.default
    }

    /// Every model that a request may name, by name (CONTROL-004).
    pub async fn ids(&self) -> Vec<String> {
        let dir = self.dir.clone();
        // Held by the look itself: it goes on when its request does not.
        let permit = Arc::clone(&self.looks).acquire_owned().await;
        let look = move || {
            let _permit = permit;
            packages(&dir)
        };
        let found = task::spawn_blocking(look).await;
        let found = found.map(Result::unwrap_or_default).unwrap_or_default();
        found.into_iter().filter(|(_, package)| package.is_ok()).map(|(id, _)| id).collect()
    }

    /// A loaded model; loads it if it is not.
    pub async fn get(&self, id: &str) -> Result<Arc<LoadedModel>, RegistryError> {
        let id = if id.is_empty() { &self.default } else { id };
        let mut place = self.place(id).await?;
        let load = place.wait_for(Option::is_some).await.ok().and_then(|load| load.clone());
        load.map_or_else(|| Err(RegistryError::Broken { id: id.to_owned() }), |load| load.outcome)
    }

    /// Forgets a model; generations that run on it go on. True when it was loaded.
    pub async fn unload(&self, id: &str) -> Result<bool, RegistryError> {
        let unloaded = {
            let mut places = self.lock();
            // What did not fit before may fit now.
            places.retain(|_, place| place.borrow().as_ref().is_none_or(|load| load.outcome.is_ok()));
            places.remove(id)
        };
        match unloaded {
            Some(place) => {
                let load = place.borrow();
                if let Some(Load { outcome: Ok(model), .. }) = &*load {
                    self.leaving.add(model);
                }
                Ok(load.is_some())
            }
            None if self.ids().await.iter().any(|known| known == id) => Ok(false),
            None => Err(unknown(id)),
        }
    }

    /// The models that are loaded now. Waits for nothing.
    pub fn loaded(&self) -> Vec<Arc<LoadedModel>> {
        let model = |place: &Place| place.borrow().as_ref()?.outcome.as_ref().ok().cloned();
        self.lock().values().filter_map(model).collect()
    }

    /// Models that were unloaded and still serve the generations that run on them.
    pub fn leaving(&self) -> Vec<Arc<LoadedModel>> {
        self.leaving.all()
    }

    /// Ends the engines of all models in memory, each after the step that it is in; false when one takes longer than
    /// `patience`. A thread that computes while the process exits would see its library go from under it.
    pub fn stop(&self, patience: Duration) -> bool {
        let (mut models, began) = (self.loaded(), Instant::now());
        models.extend(self.leaving());
        for model in &models {
            model.engine.stop();
        }
        while !models.iter().all(|model| model.engine.is_stopped()) {
            if began.elapsed() > patience {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// The place of one model; a fresh one, with a load under way, where what was there does not stand.
    async fn place(&self, id: &str) -> Result<Place, RegistryError> {
        if let Some(place) = standing(&self.lock(), id) {
            return Ok(place);
        }
        if !self.ids().await.iter().any(|known| known == id) {
            return Err(unknown(id));
        }
        let mut places = self.lock();
        if let Some(place) = standing(&places, id) {
            return Ok(place);
        }
        let (done, place) = watch::channel(None);
        places.insert(id.to_owned(), place.clone());
        let load = self.load(id.to_owned());
        // On its own: it is not begun again for each of many who ask and do not wait.
        let load = async move {
            let outcome = load.await;
            done.send_replace(Some(Load { outcome, ended: Instant::now() }))
        };
        task::spawn(load.in_current_span());
        Ok(place)
    }

    fn load(&self, id: String) -> impl Future<Output = Result<Arc<LoadedModel>, RegistryError>> + use<> {
        let (loader, dir, name, loads) =
            (self.loader.clone(), self.dir.join(&id), id.clone(), Arc::clone(&self.loads));
        let leaving = Arc::clone(&self.leaving);
        async move {
            let _turn = loads.acquire().await;
            if !leaving.room().await {
                tracing::error!(model = id, "failed to load: models that were unloaded are still in use");
                return Err(RegistryError::NoRoom { id });
            }
            match task::spawn_blocking(move || loader.load(&name, &dir)).await {
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
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a model, if asking again would bring nothing else.
fn standing(places: &HashMap<String, Place>, id: &str) -> Option<Place> {
    let place = places.get(id)?;
    // Without an end it is under way, or it was torn off with its runtime.
    let stands = place.borrow().as_ref().map_or_else(|| place.has_changed().is_ok(), Load::stands);
    stands.then(|| place.clone())
}

/// A sub-directory's name, and the package in it.
pub type Found = (String, Result<Package, PackageError>);

/// Every sub-directory that means to be a package, by name, with what is wrong with it.
pub fn packages(dir: &Path) -> Result<Vec<Found>, DirectoryError> {
    let unreadable = |error| DirectoryError::Unreadable { dir: dir.to_owned(), error };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A name that is not UTF-8 cannot be asked for; one that begins with a dot is unfinished; a comma would
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

/// How long a model that could not be loaded is not tried again.
const FAILURE_STANDS: Duration = Duration::from_secs(5);

/// More would not be faster: they read the same few files.
const LOOKS_AT_ONCE: usize = 4;
