//! Judges any AiInference endpoint, requirement by requirement, with evidence.
//!
//! The command-line program is a thin shell over this library: [`runner`] selects and runs the [`requirements`],
//! [`events`] say what happened, [`reports`] show it. `docs/design` has the longer story.

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[expect(clippy::print_stderr, reason = "the only place that prints")]
pub mod cli;
pub mod events;
pub mod evidence;
pub mod exit;
pub mod known_failures;
pub mod probe;
pub mod reports;
pub mod requirement;
pub mod requirements;
pub mod runner;
pub mod target;
pub mod verdict;
pub mod vocabulary;

/// What is broken on purpose, so that each check proves itself on it.
pub use exemplar;
