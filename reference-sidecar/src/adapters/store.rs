//! The adapters that a server knows: found, loaded once however many ask, and kept while they are used.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;
use tokio::{sync::Semaphore, task};

use super::{
    cache::Cache,
    fit::{Halves, most_bytes},
    misfit::Misfit,
    name,
    peft::Config,
    source::{ReadError, Source, Stamped},
    tensors,
};
use crate::package::{AdaptedLayer, Adapter};

/// The adapters below one directory.
#[derive(Debug)]
pub struct Adapters {
    /// A real path: no links in it.
    root: Option<PathBuf>,
    cache: Mutex<Cache>,
    loads: Arc<Semaphore>,
    /// Searches at once; each holds a thread.
    finds: Arc<Semaphore>,
}

/// What a model asks of its adapters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptedModel {
    /// Its name in requests.
    pub id: String,
    /// The layers of its graph that take adapters; empty where it takes none.
    pub layers: Arc<[AdaptedLayer]>,
    /// Numbers of one attention head: tells how the rows of query and key lie.
    pub head_size: usize,
}

/// An adapter that cannot be had. Safe to show to clients; the log says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AdapterError {
    /// ERROR-008, ERROR-009: the same words whatever is asked for.
    #[error("the adapter is not known here")]
    Unknown,
    /// It is there, and it is broken or made for another model.
    #[error("the adapter does not fit this model")]
    Unfit,
}

/// An adapters directory that cannot be served from.
#[derive(Debug, Error)]
#[error("failed to read the adapters directory {}: {error}", .dir.display())]
pub struct AdaptersDirError {
    /// The directory of adapters.
    pub dir: PathBuf,
    /// The error of the file system.
    pub error: io::Error,
}

impl Adapters {
    /// The adapters below `root`; without one, no adapter is known.
    pub fn open(root: Option<&Path>) -> Result<Self, AdaptersDirError> {
        let real = |dir: &Path| {
            let real = dir.canonicalize().and_then(|real| real.read_dir().map(|_| real));
            real.map_err(|error| AdaptersDirError { dir: dir.to_owned(), error })
        };
        let root = root.map(real).transpose()?;
        let (loads, finds) = (Semaphore::new(LOADS_AT_ONCE), Semaphore::new(FINDS_AT_ONCE));
        let cache = Mutex::new(Cache::new(MOST_CACHED_BYTES));
        Ok(Self { root, cache, loads: Arc::new(loads), finds: Arc::new(finds) })
    }

    /// The adapter that a request names, for the model that it asks for; loads it if need be.
    pub async fn get(&self, name: &str, model: &AdaptedModel) -> Result<Arc<Adapter>, AdapterError> {
        if !name::is_plain(name) {
            return Err(AdapterError::Unknown);
        }
        let source = self.find(name).await.ok_or(AdapterError::Unknown)?;
        let cell = self.lock().cell(name, &source, model);
        let loaded = cell.get_or_init(|| self.load(name, source, model)).await.clone();
        match loaded {
            Ok(_) => self.lock().trim(),
            // A process is changing the file just now: the next request looks again.
            Err(AdapterError::Unknown) => self.lock().forget(name, model, &cell),
            Err(AdapterError::Unfit) => {}
        }
        loaded
    }

    async fn find(&self, name: &str) -> Option<Source> {
        let (root, name) = (self.root.clone()?, name.to_owned());
        // Held by the search itself, as by a load.
        let permit = Arc::clone(&self.finds).acquire_owned().await.ok()?;
        let find = move || {
            let _permit = permit;
            Source::find(&root, &name)
        };
        task::spawn_blocking(find).await.ok().flatten()
    }

    async fn load(
        &self,
        name: &str,
        source: Source,
        model: &AdaptedModel,
    ) -> Result<Arc<Adapter>, AdapterError> {
        // Held by the load itself: it goes on when its request does not.
        let permit = Arc::clone(&self.loads).acquire_owned().await.map_err(|_| AdapterError::Unknown)?;
        let (owned_name, owned_model) = (name.to_owned(), model.clone());
        let loading = task::spawn_blocking(move || {
            let _permit = permit;
            load(&owned_name, &source, &owned_model)
        });
        match loading.await {
            Ok(Ok(adapter)) => {
                tracing::info!(adapter = name, model = model.id, bytes = adapter.bytes(), "adapter loaded");
                Ok(Arc::new(adapter))
            }
            Ok(Err(ReadError::Misfit(why))) => {
                tracing::warn!(adapter = name, model = model.id, %why, "the adapter does not fit");
                Err(AdapterError::Unfit)
            }
            Ok(Err(ReadError::Gone(why))) => {
                tracing::warn!(adapter = name, model = model.id, %why, "the adapter cannot be read");
                Err(AdapterError::Unknown)
            }
            Err(why) => {
                tracing::error!(adapter = name, model = model.id, %why, "loading the adapter failed");
                Err(AdapterError::Unknown)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads an adapter and checks it against the model. Blocks.
fn load(name: &str, source: &Source, model: &AdaptedModel) -> Result<Adapter, ReadError> {
    if model.layers.is_empty() {
        return Err(ReadError::Misfit(Misfit::NoLayers));
    }
    let most = most_bytes(&model.layers).saturating_add(MOST_HEADER_BYTES).min(MOST_FILE_BYTES);
    let matrices = |file: &Stamped| tensors::matrices(&file.read(most)?).map_err(ReadError::Misfit);
    let halves = match source {
        Source::Tensors(file) => Halves::from_graph_form(matrices(file)?),
        Source::Peft { config, tensors } => {
            let config = Config::parse(&config.read(MOST_CONFIG_BYTES)?).map_err(ReadError::Misfit)?;
            config.read(&matrices(tensors)?, model.head_size)
        }
    };
    halves.and_then(|halves| halves.fit(name, &model.layers)).map_err(ReadError::Misfit)
}

/// Adapters of the usual ranks for models of this server's class take some megabytes: hundreds of them.
const MOST_CACHED_BYTES: usize = 1 << 30;
/// Larger than any adapter in use; a graph with room for more does not get more.
const MOST_FILE_BYTES: u64 = 1 << 30;
/// Names and offsets of a hundred layers take 100 KiB; files may carry notes there too.
const MOST_HEADER_BYTES: u64 = 4 << 20;
/// Real ones have one or two KiB.
const MOST_CONFIG_BYTES: u64 = 1 << 20;
/// Each holds a file and its matrices in memory for a moment.
const LOADS_AT_ONCE: usize = 2;
/// A few looks at the file system, microseconds each unless it hangs.
const FINDS_AT_ONCE: usize = 4;
