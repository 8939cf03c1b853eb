//! Executes steps with ONNX Runtime, loaded at run time from wherever `library` finds it.
//!
//! KV layout and the operator's rules that shape it are in `kv_cache`; which graphs are served in `graph`; what is
//! `unsafe` is in `raw` and `mapped`.

#[cfg(feature = "cuda")]
mod cuda;
mod feeds;
mod graph;
mod kv_cache;
mod library;
mod lora;
#[cfg(target_os = "linux")]
mod mapped;
mod place;
mod provider;
mod raw;
mod self_test;
mod session;
mod sizing;

pub use library::{LibraryError, Runtime};
pub use provider::{Kernels, Provider, ProviderChoice, ProviderError, UnknownKernels};
pub use session::{OnnxBackend, OnnxError, OnnxOptions};
