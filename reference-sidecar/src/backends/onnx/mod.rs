//! Executes steps with ONNX Runtime, loaded at run time from wherever `library` finds it.
//!
//! KV layout and the operator's rules that shape it are in `kv_cache`; everything `unsafe` is in `raw`.

mod kv_cache;
mod library;
mod provider;
mod raw;
mod session;

pub use library::{LibraryError, Runtime};
pub use provider::{Provider, ProviderError};
pub use session::{OnnxBackend, OnnxError, OnnxOptions};
