//! From a `model_id` to a running model: what is in a directory, which directories there are, and which are loaded.

mod adapter;
mod adapters;
mod loader;
mod package;
mod registry;

pub use adapter::{AdaptedLayer, Adapter, LowRank};
pub use adapters::{AdaptedModel, AdapterError, Adapters, AdaptersDirError};
pub use loader::{LoadError, LoadedModel, Loader};
pub use package::{CacheShape, Package, PackageError};
pub use registry::{DirectoryError, Found, Registry, RegistryError, packages};
