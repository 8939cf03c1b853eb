//! What the sidecar was told: as written (`raw`, on the command line and in a `file`), and validated (`resolved`).
//!
//! ```text
//! flags > environment > file > defaults ──▶ ResolvedServe
//! ```

mod address;
mod defaults;
mod file;
mod keys;
mod origin;
mod parse;
mod raw;
mod resolved;
mod tls;

pub use address::{Address, AddressError, TcpAddress, TcpAddressError};
pub use keys::explain;
pub use origin::Given;
pub use parse::{parse, parse_from};
pub use raw::{Check, Cli, Command, Generate, List, Measure, Models, ModelsCommand, OnnxArgs, Serve};
pub use resolved::{ConfigError, ResolvedGenerate, ResolvedOnnx, ResolvedServe, Token, models_dir};
pub use tls::{Tls, TlsError};

#[cfg(test)]
use parse::command;
