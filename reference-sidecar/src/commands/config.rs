//! `config`: the configuration that `serve` would have.

use std::io::{self, Write as _};

use super::Failure;
use crate::config::{Serve, explain};

/// Prints it as a file.
pub fn config(raw: Serve) -> Result<(), Failure> {
    let text = explain(raw)?;
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
