//! What must never stand in a record, a report or a page: secrets, wherever they come from. Pure.

mod command;
mod redactor;

pub use command::{is_secret, shown_command};
pub use redactor::Redactor;

/// What stands instead of a secret.
const REDACTED: &str = "<redacted>";
