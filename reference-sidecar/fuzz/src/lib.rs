//! Mutational fuzzing of the sidecar's edge, for stable Rust: structure-aware generators, and a corpus that grows by what
//! the server is seen to do.
//!
//! [`campaign`] is the loop; [`requests`], [`http2`] and [`packages`] are the targets; [`sidecar`] is what the first two
//! attack.

pub mod bytes;
pub mod campaign;
pub mod corpus;
pub mod http2;
pub mod packages;
pub mod panics;
pub mod requests;
pub mod sidecar;
