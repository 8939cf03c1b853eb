//! Mutational fuzzing of the sidecar's edge, for stable Rust: structure-aware generators, and a corpus that grows by what
//! the server is seen to do.
//!
//! [`campaign`] is the loop; [`requests`] and [`http2`] are the targets; [`sidecar`] is what they attack.

pub mod bytes;
pub mod campaign;
pub mod corpus;
pub mod http2;
pub mod panics;
pub mod requests;
pub mod sidecar;
