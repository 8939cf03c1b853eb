//! Events in, reports out: terminal, JSON, JUnit, CTRF, HTML, Markdown, GitHub annotations and the recording itself.
//!
//! Talks to: [`crate::events`], its only input, and the requirements' pages, which it quotes. Knows nothing of the
//! runner, so any report can be made again from `events.jsonl`. A report that fails starves no other.
//!
//! Everything that a target said is escaped here before it reaches a terminal or a page, see [`present::text`].

pub mod cause;
pub mod conclusion;
mod ctrf;
mod decisive;
mod events_file;
mod fan_out;
mod files;
mod format;
mod github;
mod html;
pub mod json;
mod junit;
mod language;
mod markdown;
mod outcome;
pub(crate) mod page;
mod run;
mod terminal;
mod timeline;

pub use conclusion::{Conclusion, Standing};
pub use fan_out::{Report, Reports};
pub use format::Format;
pub use language::Language;
pub use outcome::Outcome;
pub use run::Run;
pub use terminal::Terminal;
