//! What a model directory holds: its graph, its tokenizer, the shape of its KV cache; and what an adapter of a model is.
//!
//! The ground floor: backends, the engine and the registry read this, and it knows none of them.

mod adapter;
mod contents;
mod onnx;
mod weights;

pub use adapter::{AdaptedLayer, Adapter, LowRank};
pub use contents::{CacheShape, Package, PackageError, read};
pub use weights::{DataFile, Weights};
