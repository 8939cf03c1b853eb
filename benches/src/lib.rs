//! What the programs of this crate share: a sidecar as a child process, a client of either dialect, statistics and goals, the
//! hot paths.
//!
//! `throughput` compares decode rates, `soak` keeps a server under load for minutes, and the criterion benches (`cargo
//! bench -p benches`) time single functions. The README beside this crate says how to run and read each.

pub mod cases;
pub mod client;
pub mod goal;
pub mod process;
pub mod sidecar;
pub mod statistics;
