//! Targets that are beyond help: the suite has its verdict all the same, in bounded time and memory. These tests mostly wait,
//! and so they do it beside each other.

mod bounded;
#[path = "../common/mod.rs"]
mod common;
mod floor;
