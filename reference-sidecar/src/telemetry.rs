//! Logs: text on standard error, as `SIDECAR_LOG` filters it. Standard output belongs to what a command prints.
//!
//! No log line carries a prompt, a generated text or a token.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Starts logging; later calls change nothing.
pub fn init() {
    let asked = std::env::var("SIDECAR_LOG").ok().filter(|asked| !asked.trim().is_empty());
    let filter = |asked: &str| EnvFilter::try_new(format!("{QUIET},{asked}"));
    let filter = asked.and_then(|asked| filter(&asked).ok()).or_else(|| filter("info").ok());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_default())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

/// ONNX Runtime and the transport say at `info` what only their developers need; naming them in `SIDECAR_LOG` undoes it.
const QUIET: &str = "ort=warn,h2=warn,hyper=warn,tonic=warn";
