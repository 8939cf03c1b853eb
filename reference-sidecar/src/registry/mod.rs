//! From a `model_id` to a running model: which directories there are, which models are loaded, and how one is loaded.
//!
//! Above the engine, whose handles it keeps; the service asks it.

mod leaving;
mod loader;
mod models;

pub use loader::{LoadError, LoadedModel, Loader};
pub use models::{DirectoryError, Found, Registry, RegistryError, packages};
