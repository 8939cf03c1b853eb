//! From an adapter's name in a request to its matrices in memory: `--adapters DIR`, and what lies in it.
//!
//! An adapter is either a safetensors file whose tensors are named as the graph's inputs (`blk.0.attn_output.lora_A`), or
//! a directory that PEFT wrote. A request names it by its path below the root, without `.safetensors` if it likes. A
//! name is judged before the file system hears of it, and whatever is wrong with where it points, the answer is the
//! same as for a name that no adapter has (ERROR-008, ERROR-009).

mod cache;
mod fit;
mod misfit;
mod name;
mod peft;
mod source;
mod store;
mod tensors;

pub use store::{AdaptedModel, AdapterError, Adapters, AdaptersDirError};
