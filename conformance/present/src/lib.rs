//! What people see, shared by the suite and the benchmark: safe text, colour, progress, pages from templates, and files
//! that appear whole.
//!
//! Knows nothing of what is shown: neither requirements nor latencies.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod console;
mod files;
mod paint;
mod progress;
pub mod secrets;
mod template;
pub mod text;

pub use console::{Console, Stream};
pub use files::write_whole;
pub use paint::{Paint, Tone};
pub use progress::Progress;
pub use template::{BASE_STYLE, render};
