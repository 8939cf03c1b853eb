//! Executes steps with ONNX Runtime, loaded at run time from wherever `library` finds it.
//!
//! KV layout and the operator's rules that shape it are in `kv_cache`; which graphs are served in `graph`; everything
//! `unsafe` is in `raw`.

#[cfg(feature = "cuda")]
mod cuda;
mod feeds;
mod graph;
mod kv_cache;
mod library;
mod lora;
mod place;
mod provider;
mod raw;
mod self_test;
mod session;
mod sizing;

pub use library::{LibraryError, Runtime};
pub use provider::{Kernels, Provider, ProviderChoice, ProviderError, UnknownKernels};
pub use session::{OnnxBackend, OnnxError, OnnxOptions};
