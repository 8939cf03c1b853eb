//! What each sub-command does.

mod config;
mod generate;
mod measure;
mod models;
mod serve;

pub use config::config;
pub use generate::generate;
pub use models::models;
pub use serve::serve;

use thiserror::Error;

use crate::{
    adapters::AdaptersDirError,
    backends::{
        BackendError,
        onnx::{LibraryError, ProviderError},
    },
    config::ConfigError,
    engine::{EngineError, SubmitError},
    listen::ListenError,
    package::PackageError,
    registry::{DirectoryError, LoadError},
    telemetry::LogFilterError,
    text::TokenizerError,
};

/// Why a command failed.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each is its source, named by its type")]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("SIDECAR_LOG: {0}")]
    Log(#[from] LogFilterError),
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Adapters(#[from] AdaptersDirError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Text(#[from] TokenizerError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(
        "the default model {id:?} cannot be loaded (see the log above): try `reference-sidecar models check`"
    )]
    Default { id: String },
    #[error("failed to serve: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("failed to answer metrics on {address}: {error}")]
    Metrics { address: String, error: std::io::Error },
    #[error("failed to use the terminal or the system: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0} of the packages cannot be served")]
    Unservable(usize),
}

impl Failure {
    /// 2 when what was asked for cannot be right, 1 when it could have worked.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Log(_)
            | Self::Library(_)
            | Self::Provider(_)
            | Self::Adapters(_)
            | Self::Directory(_)
            | Self::Package(_) => 2,
            _ => 1,
        }
    }
}
