//! What the sidecar was told: as written (`raw`), and validated (`resolved`).

mod address;
mod raw;
mod resolved;
mod tls;

pub use address::{Address, AddressError};
pub use raw::{Check, Cli, Command, Generate, List, Models, ModelsCommand, OnnxArgs, Serve};
pub use resolved::{
    ConfigError, ResolvedGenerate, ResolvedOnnx, ResolvedServe, Token, cache_dir, models_dir,
};
pub use tls::{Tls, TlsError};
